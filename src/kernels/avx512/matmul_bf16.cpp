// Compiled for AVX512_BF16 as well; entered only where the machine has it.
#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/vectors.h"
#include "kernels/vectors/float_tiles.h"

namespace sampan {
namespace {

// The processor's own products of pairs, which take no notice of its mode for subnormal numbers.
struct ProcessorPairs {
  static constexpr int kTileRows = 4;
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 1;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  static constexpr bool kSubnormalsAreZero = false;
  template <int kPart>
  static __m512i load_w(const std::byte* p) {
    return _mm512_loadu_si512(p);
  }
  template <int kPart>
  static __m512i load_x(const std::byte* p) {
    return _mm512_loadu_si512(p);
  }
  static __m512 multiply_add(__m512i x, __m512i w, __m512 lanes) {
    return _mm512_dpbf16_ps(lanes, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};

}  // namespace

FloatKernel bf16_kernel_avx512() { return multiply_floats<ProcessorPairs>; }

}  // namespace sampan
