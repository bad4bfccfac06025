#include "kernels/avx512/float_tiles.h"

namespace sampan {
namespace {

// 16 columns: a lane each.
struct Lanes {
  static constexpr int kColumns = kLanes;
  static constexpr int kParts = 1;
  static constexpr int kXBytes = 4;
  using Mask = __mmask16;
  using W = __m512;
  using X = __m512;
  template <int kPart>
  static X load_x(const std::byte* p, Mask mask) {
    return _mm512_maskz_loadu_ps(mask, p);
  }
  static __m512 multiply_add(X x, W w, __m512 lanes) { return _mm512_fmadd_ps(x, w, lanes); }
};

struct F32 : Lanes {
  static constexpr int kBytes = 4;
  template <int kPart>
  static W load_w(const std::byte* p, Mask mask) {
    return _mm512_maskz_loadu_ps(mask, p);
  }
};
struct F16 : Lanes {
  static constexpr int kBytes = 2;
  template <int kPart>
  static W load_w(const std::byte* p, Mask mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
  }
};
struct BF16 : Lanes {
  static constexpr int kBytes = 2;
  template <int kPart>
  static W load_w(const std::byte* p, Mask mask) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  }
};

// 32 columns, a lane two of them, the odd one first: what vdpbf16ps does, for machines without it.
struct BF16Pairs : Lanes {
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 2;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  using Mask = __mmask32;
  template <int kPart>
  static __m512 load(const std::byte* p, Mask mask) {
    const __m512i bits = _mm512_maskz_loadu_epi16(mask, p);
    const __m512i odd = _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)));
    return _mm512_castsi512_ps(kPart == 0 ? odd : _mm512_slli_epi32(bits, 16));
  }
  template <int kPart>
  static W load_w(const std::byte* p, Mask mask) {
    return load<kPart>(p, mask);
  }
  template <int kPart>
  static X load_x(const std::byte* p, Mask mask) {
    return load<kPart>(p, mask);
  }
};

// As vdpbf16ps does whatever the mode of the processor: subnormal numbers are zero.
void multiply_pairs(const FloatJob& job) {
  constexpr unsigned kSubnormalsAreZero = 0x8040;
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kSubnormalsAreZero);
  multiply_floats<BF16Pairs>(job);
  _mm_setcsr(mode);
}

}  // namespace

void add_float_entries_avx512(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<F32>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<F16>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<BF16>;
  table.bf16_pairs = multiply_pairs;
}

}  // namespace sampan
