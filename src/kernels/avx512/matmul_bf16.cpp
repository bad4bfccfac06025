// Compiled for AVX512_BF16 as well; entered only where the machine has it.
#include "kernels/avx512/float_tiles.h"

namespace sampan {
namespace {

struct Pairs {
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 1;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  using Mask = __mmask32;
  using W = __m512i;
  using X = __m512i;
  template <int kPart>
  static W load_w(const std::byte* p, Mask mask) {
    return _mm512_maskz_loadu_epi16(mask, p);
  }
  template <int kPart>
  static X load_x(const std::byte* p, Mask mask) {
    return _mm512_maskz_loadu_epi16(mask, p);
  }
  static __m512 multiply_add(X x, W w, __m512 lanes) {
    return _mm512_dpbf16_ps(lanes, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};

}  // namespace

FloatKernel bf16_kernel_avx512() { return multiply_floats<Pairs>; }

}  // namespace sampan
