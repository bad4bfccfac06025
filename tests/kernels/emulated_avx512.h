#pragma once

#include <immintrin.h>

#include <cstdint>

// AVX-512 (F, BW, VL, DQ, VNNI, BF16) as far as src/kernels/avx512/ uses it, by
// AVX2, FMA and F16C, to the same bits: included before everything else in those sources
// (SAMPAN_EMULATE), so that their tests run on every x86-64 machine. Slow: for tests alone.
//
// The compiler's names get others here, with one definition each. An intrinsic that is not here
// does not compile: its own definition is for a target that these sources are not compiled for.
// Vectors of 64 bytes are the compiler's own types, in memory. Operands that the hardware has as
// immediates must be constants after inlining, so with optimisation.

// clang-format off
#undef _mm512_setr_epi32  // a macro of GCC
#define _mm256_mask_storeu_epi16 emulated_mm256_mask_storeu_epi16
#define _mm256_maskz_loadu_epi16 emulated_mm256_maskz_loadu_epi16
#define _mm512_add_epi32 emulated_mm512_add_epi32
#define _mm512_add_epi64 emulated_mm512_add_epi64
#define _mm512_add_ps emulated_mm512_add_ps
#define _mm512_and_si512 emulated_mm512_and_si512
#define _mm512_broadcast_i32x4 emulated_mm512_broadcast_i32x4
#define _mm512_castps512_ps128 emulated_mm512_castps512_ps128
#define _mm512_castps512_ps256 emulated_mm512_castps512_ps256
#define _mm512_castps_si512 emulated_mm512_castps_si512
#define _mm512_castsi128_si512 emulated_mm512_castsi128_si512
#define _mm512_castsi256_si512 emulated_mm512_castsi256_si512
#define _mm512_castsi512_ps emulated_mm512_castsi512_ps
#define _mm512_castsi512_si128 emulated_mm512_castsi512_si128
#define _mm512_cmp_ps_mask emulated_mm512_cmp_ps_mask
#define _mm512_cmpge_epi32_mask emulated_mm512_cmpge_epi32_mask
#define _mm512_cmpgt_epi32_mask emulated_mm512_cmpgt_epi32_mask
#define _mm512_cmplt_epi32_mask emulated_mm512_cmplt_epi32_mask
#define _mm512_cvtepi32_epi16 emulated_mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 emulated_mm512_cvtepi32_epi8
#define _mm512_cvtepi32_ps emulated_mm512_cvtepi32_ps
#define _mm512_cvtepi8_epi16 emulated_mm512_cvtepi8_epi16
#define _mm512_cvtepi8_epi32 emulated_mm512_cvtepi8_epi32
#define _mm512_cvtepu16_epi32 emulated_mm512_cvtepu16_epi32
#define _mm512_cvtepu8_epi16 emulated_mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi32 emulated_mm512_cvtepu8_epi32
#define _mm512_cvtph_ps emulated_mm512_cvtph_ps
#define _mm512_cvtps_epi32 emulated_mm512_cvtps_epi32
#define _mm512_cvtps_ph emulated_mm512_cvtps_ph
#define _mm512_cvtss_f32 emulated_mm512_cvtss_f32
#define _mm512_div_ps emulated_mm512_div_ps
#define _mm512_dpbf16_ps emulated_mm512_dpbf16_ps
#define _mm512_dpbusd_epi32 emulated_mm512_dpbusd_epi32
#define _mm512_dpwssd_epi32 emulated_mm512_dpwssd_epi32
#define _mm512_extractf32x8_ps emulated_mm512_extractf32x8_ps
#define _mm512_fmadd_ps emulated_mm512_fmadd_ps
#define _mm512_fnmadd_ps emulated_mm512_fnmadd_ps
#define _mm512_inserti32x4 emulated_mm512_inserti32x4
#define _mm512_loadu_ps emulated_mm512_loadu_ps
#define _mm512_loadu_si512 emulated_mm512_loadu_si512
#define _mm512_madd_epi16 emulated_mm512_madd_epi16
#define _mm512_mask_blend_epi32 emulated_mm512_mask_blend_epi32
#define _mm512_mask_blend_ps emulated_mm512_mask_blend_ps
#define _mm512_mask_mov_ps emulated_mm512_mask_mov_ps
#define _mm512_mask_or_epi32 emulated_mm512_mask_or_epi32
#define _mm512_mask_sllv_epi32 emulated_mm512_mask_sllv_epi32
#define _mm512_mask_storeu_epi32 emulated_mm512_mask_storeu_epi32
#define _mm512_mask_storeu_ps emulated_mm512_mask_storeu_ps
#define _mm512_maskz_loadu_epi32 emulated_mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_ps emulated_mm512_maskz_loadu_ps
#define _mm512_maskz_mov_ps emulated_mm512_maskz_mov_ps
#define _mm512_max_epi32 emulated_mm512_max_epi32
#define _mm512_max_ps emulated_mm512_max_ps
#define _mm512_mul_ps emulated_mm512_mul_ps
#define _mm512_mullo_epi32 emulated_mm512_mullo_epi32
#define _mm512_or_si512 emulated_mm512_or_si512
#define _mm512_permute_ps emulated_mm512_permute_ps
#define _mm512_permutexvar_epi32 emulated_mm512_permutexvar_epi32
#define _mm512_permutexvar_ps emulated_mm512_permutexvar_ps
#define _mm512_reduce_add_epi32 emulated_mm512_reduce_add_epi32
#define _mm512_reduce_add_epi64 emulated_mm512_reduce_add_epi64
#define _mm512_reduce_max_epi32 emulated_mm512_reduce_max_epi32
#define _mm512_reduce_max_ps emulated_mm512_reduce_max_ps
#define _mm512_set1_epi16 emulated_mm512_set1_epi16
#define _mm512_set1_epi32 emulated_mm512_set1_epi32
#define _mm512_set1_epi64 emulated_mm512_set1_epi64
#define _mm512_set1_epi8 emulated_mm512_set1_epi8
#define _mm512_set1_ps emulated_mm512_set1_ps
#define _mm512_setr_epi32 emulated_mm512_setr_epi32
#define _mm512_setzero_ps emulated_mm512_setzero_ps
#define _mm512_setzero_si512 emulated_mm512_setzero_si512
#define _mm512_shuffle_epi8 emulated_mm512_shuffle_epi8
#define _mm512_shuffle_f32x4 emulated_mm512_shuffle_f32x4
#define _mm512_slli_epi16 emulated_mm512_slli_epi16
#define _mm512_slli_epi32 emulated_mm512_slli_epi32
#define _mm512_sllv_epi32 emulated_mm512_sllv_epi32
#define _mm512_srai_epi16 emulated_mm512_srai_epi16
#define _mm512_srai_epi32 emulated_mm512_srai_epi32
#define _mm512_srli_epi16 emulated_mm512_srli_epi16
#define _mm512_srli_epi32 emulated_mm512_srli_epi32
#define _mm512_store_si512 emulated_mm512_store_si512
#define _mm512_storeu_ps emulated_mm512_storeu_ps
#define _mm512_storeu_si512 emulated_mm512_storeu_si512
#define _mm512_sub_epi32 emulated_mm512_sub_epi32
#define _mm512_sub_epi8 emulated_mm512_sub_epi8
#define _mm512_sub_ps emulated_mm512_sub_ps
#define _mm512_ternarylogic_epi64 emulated_mm512_ternarylogic_epi64
#define _mm512_unpackhi_epi32 emulated_mm512_unpackhi_epi32
#define _mm512_unpackhi_epi64 emulated_mm512_unpackhi_epi64
#define _mm512_unpacklo_epi32 emulated_mm512_unpacklo_epi32
#define _mm512_unpacklo_epi64 emulated_mm512_unpacklo_epi64
#define _mm512_xor_ps emulated_mm512_xor_ps
#define _mm512_xor_si512 emulated_mm512_xor_si512
#define _mm_maskz_loadu_epi8 emulated_mm_maskz_loadu_epi8
// clang-format on

#define EMULATED [[gnu::always_inline]] static inline

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // vectors as arguments of templates

namespace emulated_avx512 {

template <typename To, typename From>
EMULATED To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

template <typename T>
struct Lanes {
  T at[64 / sizeof(T)];
};

EMULATED __m256 low(__m512 v) { return bits<Lanes<__m256>>(v).at[0]; }
EMULATED __m256 high(__m512 v) { return bits<Lanes<__m256>>(v).at[1]; }
EMULATED __m256i low(__m512i v) { return bits<Lanes<__m256i>>(v).at[0]; }
EMULATED __m256i high(__m512i v) { return bits<Lanes<__m256i>>(v).at[1]; }
EMULATED __m512 join(__m256 low, __m256 high) { return bits<__m512>(Lanes<__m256>{{low, high}}); }
EMULATED __m512i join(__m256i low, __m256i high) {
  return bits<__m512i>(Lanes<__m256i>{{low, high}});
}

EMULATED void require_alignment(const void* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % 64 != 0) __builtin_trap();
}

// All ones in the lanes of the mask's low 8 bits.
EMULATED __m256i chosen_words(unsigned mask) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bit), bit);
}
EMULATED __mmask16 mask_of(__m256 low, __m256 high) {
  return static_cast<__mmask16>(_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8);
}

template <typename V, typename T>
EMULATED V load_chosen(std::uint64_t mask, const void* p) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T lanes[kCount] = {};
  for (int i = 0; i < kCount; ++i) {
    if ((mask >> i & 1) != 0) {
      __builtin_memcpy(lanes + i, static_cast<const T*>(p) + i, sizeof(T));
    }
  }
  return bits<V>(lanes);
}
template <typename T, typename V>
EMULATED void store_chosen(void* p, std::uint64_t mask, V v) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T lanes[kCount];
  __builtin_memcpy(lanes, &v, sizeof(V));
  for (int i = 0; i < kCount; ++i) {
    if ((mask >> i & 1) != 0) __builtin_memcpy(static_cast<T*>(p) + i, lanes + i, sizeof(T));
  }
}

// The low parts of lanes.
template <typename V, typename To, typename From>
EMULATED V narrow(__m512i v) {
  const auto from = bits<Lanes<From>>(v);
  To to[sizeof(V) / sizeof(To)];
  for (unsigned i = 0; i < sizeof(V) / sizeof(To); ++i) to[i] = static_cast<To>(from.at[i]);
  return bits<V>(to);
}

// v, and no operation on it moves past what changes the processor's mode.
EMULATED __m512 computed_here(__m512 v) {
  __m256 first = low(v), second = high(v);
  asm volatile("" : "+x"(first), "+x"(second));
  return join(first, second);
}

}  // namespace emulated_avx512

#define EMULATED_FLOATS_1(name, half)                                                            \
  EMULATED __m512 name(__m512 a) {                                                               \
    return emulated_avx512::join(half(emulated_avx512::low(a)), half(emulated_avx512::high(a))); \
  }
#define EMULATED_FLOATS_2(name, half)                                                       \
  EMULATED __m512 name(__m512 a, __m512 b) {                                                \
    return emulated_avx512::join(half(emulated_avx512::low(a), emulated_avx512::low(b)),    \
                                 half(emulated_avx512::high(a), emulated_avx512::high(b))); \
  }
#define EMULATED_FLOATS_3(name, half)                                                        \
  EMULATED __m512 name(__m512 a, __m512 b, __m512 c) {                                       \
    return emulated_avx512::join(                                                            \
        half(emulated_avx512::low(a), emulated_avx512::low(b), emulated_avx512::low(c)),     \
        half(emulated_avx512::high(a), emulated_avx512::high(b), emulated_avx512::high(c))); \
  }
#define EMULATED_INTEGERS_1(name, half)                                                          \
  EMULATED __m512i name(__m512i a) {                                                             \
    return emulated_avx512::join(half(emulated_avx512::low(a)), half(emulated_avx512::high(a))); \
  }
#define EMULATED_INTEGERS_2(name, half)                                                     \
  EMULATED __m512i name(__m512i a, __m512i b) {                                             \
    return emulated_avx512::join(half(emulated_avx512::low(a), emulated_avx512::low(b)),    \
                                 half(emulated_avx512::high(a), emulated_avx512::high(b))); \
  }
#define EMULATED_SHIFT(name, half)                                    \
  EMULATED __m512i name(__m512i a, unsigned count) {                  \
    const int by = static_cast<int>(count);                           \
    return emulated_avx512::join(half(emulated_avx512::low(a), by),   \
                                 half(emulated_avx512::high(a), by)); \
  }
// Of 16 bytes, and of 32.
#define EMULATED_WIDEN_QUARTERS(name, half)                            \
  EMULATED __m512i name(__m128i v) {                                   \
    return emulated_avx512::join(half(v), half(_mm_srli_si128(v, 8))); \
  }
#define EMULATED_WIDEN_HALVES(name, half)                               \
  EMULATED __m512i name(__m256i v) {                                    \
    return emulated_avx512::join(half(_mm256_castsi256_si128(v)),       \
                                 half(_mm256_extracti128_si256(v, 1))); \
  }

// Loads and stores. What a mask leaves out is neither read nor written: vmaskmov does not fault
// there, and the loops touch nothing else. Aligned ones trap where the hardware faults.

EMULATED __m512 _mm512_loadu_ps(const void* p) {
  __m512 v;
  __builtin_memcpy(&v, p, 64);
  return v;
}
EMULATED __m512i _mm512_loadu_si512(const void* p) {
  __m512i v;
  __builtin_memcpy(&v, p, 64);
  return v;
}
EMULATED void _mm512_storeu_ps(void* p, __m512 v) { __builtin_memcpy(p, &v, 64); }
EMULATED void _mm512_storeu_si512(void* p, __m512i v) { __builtin_memcpy(p, &v, 64); }
EMULATED void _mm512_store_si512(void* p, __m512i v) {
  emulated_avx512::require_alignment(p);
  _mm512_storeu_si512(p, v);
}
EMULATED __m512i _mm512_maskz_loadu_epi32(__mmask16 mask, const void* p) {
  const int* const from = static_cast<const int*>(p);
  return emulated_avx512::join(
      _mm256_maskload_epi32(from, emulated_avx512::chosen_words(mask)),
      _mm256_maskload_epi32(from + 8, emulated_avx512::chosen_words(mask >> 8)));
}
EMULATED __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void* p) {
  return emulated_avx512::bits<__m512>(_mm512_maskz_loadu_epi32(mask, p));
}
EMULATED void _mm512_mask_storeu_epi32(void* p, __mmask16 mask, __m512i v) {
  int* const to = static_cast<int*>(p);
  _mm256_maskstore_epi32(to, emulated_avx512::chosen_words(mask), emulated_avx512::low(v));
  _mm256_maskstore_epi32(to + 8, emulated_avx512::chosen_words(mask >> 8),
                         emulated_avx512::high(v));
}
EMULATED void _mm512_mask_storeu_ps(void* p, __mmask16 mask, __m512 v) {
  _mm512_mask_storeu_epi32(p, mask, emulated_avx512::bits<__m512i>(v));
}
EMULATED __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void* p) {
  return emulated_avx512::load_chosen<__m256i, std::uint16_t>(mask, p);
}
EMULATED void _mm256_mask_storeu_epi16(void* p, __mmask16 mask, __m256i v) {
  emulated_avx512::store_chosen<std::uint16_t>(p, mask, v);
}
EMULATED __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const void* p) {
  return emulated_avx512::load_chosen<__m128i, std::uint8_t>(mask, p);
}

// Constants.

EMULATED __m512 _mm512_setzero_ps() { return __m512{}; }
EMULATED __m512i _mm512_setzero_si512() { return __m512i{}; }
EMULATED __m512 _mm512_set1_ps(float x) {
  return emulated_avx512::join(_mm256_set1_ps(x), _mm256_set1_ps(x));
}
EMULATED __m512i _mm512_set1_epi8(char x) {
  return emulated_avx512::join(_mm256_set1_epi8(x), _mm256_set1_epi8(x));
}
EMULATED __m512i _mm512_set1_epi16(short x) {
  return emulated_avx512::join(_mm256_set1_epi16(x), _mm256_set1_epi16(x));
}
EMULATED __m512i _mm512_set1_epi32(int x) {
  return emulated_avx512::join(_mm256_set1_epi32(x), _mm256_set1_epi32(x));
}
EMULATED __m512i _mm512_set1_epi64(long long x) {
  return emulated_avx512::join(_mm256_set1_epi64x(x), _mm256_set1_epi64x(x));
}
EMULATED __m512i _mm512_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i,
                                   int j, int k, int l, int m, int n, int o, int p) {
  return emulated_avx512::join(_mm256_setr_epi32(a, b, c, d, e, f, g, h),
                               _mm256_setr_epi32(i, j, k, l, m, n, o, p));
}

// Casts and parts.

EMULATED __m512i _mm512_castps_si512(__m512 v) { return emulated_avx512::bits<__m512i>(v); }
EMULATED __m512 _mm512_castsi512_ps(__m512i v) { return emulated_avx512::bits<__m512>(v); }
EMULATED __m256 _mm512_castps512_ps256(__m512 v) { return emulated_avx512::low(v); }
EMULATED __m128 _mm512_castps512_ps128(__m512 v) {
  return _mm256_castps256_ps128(emulated_avx512::low(v));
}
EMULATED __m128i _mm512_castsi512_si128(__m512i v) {
  return _mm256_castsi256_si128(emulated_avx512::low(v));
}
EMULATED float _mm512_cvtss_f32(__m512 v) { return v[0]; }
// What these leave undefined is filled with NaNs, so that nothing can rely on zeros.
EMULATED __m512i _mm512_castsi256_si512(__m256i v) {
  return emulated_avx512::join(v, _mm256_set1_epi32(-1));
}
EMULATED __m512i _mm512_castsi128_si512(__m128i v) {
  return _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_set1_epi32(-1), v, 0));
}

EMULATED __m256 _mm512_extractf32x8_ps(__m512 v, int part) {
  return part % 2 == 0 ? emulated_avx512::low(v) : emulated_avx512::high(v);
}
EMULATED __m512i _mm512_inserti32x4(__m512i v, __m128i quarter, int part) {
  auto quarters = emulated_avx512::bits<emulated_avx512::Lanes<__m128i>>(v);
  quarters.at[part % 4] = quarter;
  return emulated_avx512::bits<__m512i>(quarters);
}
EMULATED __m512i _mm512_broadcast_i32x4(__m128i v) {
  return emulated_avx512::join(_mm256_broadcastsi128_si256(v), _mm256_broadcastsi128_si256(v));
}

// The same operation on both halves.

EMULATED_FLOATS_2(_mm512_add_ps, _mm256_add_ps)
EMULATED_FLOATS_2(_mm512_sub_ps, _mm256_sub_ps)
EMULATED_FLOATS_2(_mm512_mul_ps, _mm256_mul_ps)
EMULATED_FLOATS_2(_mm512_div_ps, _mm256_div_ps)
// (The second operand where they are equal or one is NaN, as on the hardware.)
EMULATED_FLOATS_2(_mm512_max_ps, _mm256_max_ps)
EMULATED_FLOATS_2(_mm512_xor_ps, _mm256_xor_ps)
EMULATED_FLOATS_3(_mm512_fmadd_ps, _mm256_fmadd_ps)
EMULATED_FLOATS_3(_mm512_fnmadd_ps, _mm256_fnmadd_ps)
EMULATED_INTEGERS_2(_mm512_add_epi32, _mm256_add_epi32)
EMULATED_INTEGERS_2(_mm512_add_epi64, _mm256_add_epi64)
EMULATED_INTEGERS_2(_mm512_sub_epi8, _mm256_sub_epi8)
EMULATED_INTEGERS_2(_mm512_sub_epi32, _mm256_sub_epi32)
EMULATED_INTEGERS_2(_mm512_mullo_epi32, _mm256_mullo_epi32)
EMULATED_INTEGERS_2(_mm512_madd_epi16, _mm256_madd_epi16)
EMULATED_INTEGERS_2(_mm512_max_epi32, _mm256_max_epi32)
EMULATED_INTEGERS_2(_mm512_and_si512, _mm256_and_si256)
EMULATED_INTEGERS_2(_mm512_or_si512, _mm256_or_si256)
EMULATED_INTEGERS_2(_mm512_xor_si512, _mm256_xor_si256)
EMULATED_INTEGERS_2(_mm512_sllv_epi32, _mm256_sllv_epi32)
EMULATED_INTEGERS_2(_mm512_shuffle_epi8, _mm256_shuffle_epi8)
EMULATED_INTEGERS_2(_mm512_unpacklo_epi32, _mm256_unpacklo_epi32)
EMULATED_INTEGERS_2(_mm512_unpackhi_epi32, _mm256_unpackhi_epi32)
EMULATED_INTEGERS_2(_mm512_unpacklo_epi64, _mm256_unpacklo_epi64)
EMULATED_INTEGERS_2(_mm512_unpackhi_epi64, _mm256_unpackhi_epi64)
EMULATED_SHIFT(_mm512_slli_epi16, _mm256_slli_epi16)
EMULATED_SHIFT(_mm512_srli_epi16, _mm256_srli_epi16)
EMULATED_SHIFT(_mm512_srai_epi16, _mm256_srai_epi16)
EMULATED_SHIFT(_mm512_slli_epi32, _mm256_slli_epi32)
EMULATED_SHIFT(_mm512_srli_epi32, _mm256_srli_epi32)
EMULATED_SHIFT(_mm512_srai_epi32, _mm256_srai_epi32)

// Bit 4 a + 2 b + c of `table` for every bit of a, b and c.
EMULATED __m512i _mm512_ternarylogic_epi64(__m512i a, __m512i b, __m512i c, int table) {
  __m512i result = {};
  for (int i = 0; i < 8; ++i) {
    if ((table >> i & 1) == 0) continue;
    result |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
  }
  return result;
}

// Sums of products with numbers of 32 bits, which wrap. The unsigned bytes' products are taken
// apart by even and odd bytes, because vpmaddubsw saturates.
EMULATED __m512i _mm512_dpwssd_epi32(__m512i sum, __m512i a, __m512i b) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
EMULATED __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(a, _mm512_set1_epi16(0xFF)),
                                         _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(a, 8), _mm512_srai_epi16(b, 8));
  return _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
}

// acc = fma(a[2i], b[2i], fma(a[2i + 1], b[2i + 1], acc)), as Intel describes VDPBF16PS: rounded to
// nearest even whatever the mode, subnormal operands and results zero, no exception and no flag.
// Approximate in two points which the description leaves open: the payload of a NaN, and whether a
// result that rounds up to the least normal number counts as subnormal (here, as for fma under
// flush-to-zero on x86, it does not).
EMULATED __m512 _mm512_dpbf16_ps(__m512 acc, __m512bh a, __m512bh b) {
  const __m512i a_pairs = emulated_avx512::bits<__m512i>(a);
  const __m512i b_pairs = emulated_avx512::bits<__m512i>(b);
  const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
  constexpr unsigned kMasksDazFtz = 0x9FC0;
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(kMasksDazFtz);
  acc = emulated_avx512::computed_here(acc);
  acc = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a_pairs, odd)),
                        _mm512_castsi512_ps(_mm512_and_si512(b_pairs, odd)), acc);
  acc = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a_pairs, 16)),
                        _mm512_castsi512_ps(_mm512_slli_epi32(b_pairs, 16)), acc);
  acc = emulated_avx512::computed_here(acc);
  _mm_setcsr(mode);
  return acc;
}

// Conversions.

EMULATED __m512 _mm512_cvtepi32_ps(__m512i v) {
  return emulated_avx512::join(_mm256_cvtepi32_ps(emulated_avx512::low(v)),
                               _mm256_cvtepi32_ps(emulated_avx512::high(v)));
}
EMULATED __m512i _mm512_cvtps_epi32(__m512 v) {
  return emulated_avx512::join(_mm256_cvtps_epi32(emulated_avx512::low(v)),
                               _mm256_cvtps_epi32(emulated_avx512::high(v)));
}
EMULATED __m512 _mm512_cvtph_ps(__m256i v) {
  return emulated_avx512::join(_mm256_cvtph_ps(_mm256_castsi256_si128(v)),
                               _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)));
}
EMULATED __m256i _mm512_cvtps_ph(__m512 v, int rounding) {
  return _mm256_set_m128i(_mm256_cvtps_ph(emulated_avx512::high(v), rounding),
                          _mm256_cvtps_ph(emulated_avx512::low(v), rounding));
}
EMULATED_WIDEN_QUARTERS(_mm512_cvtepi8_epi32, _mm256_cvtepi8_epi32)
EMULATED_WIDEN_QUARTERS(_mm512_cvtepu8_epi32, _mm256_cvtepu8_epi32)
EMULATED_WIDEN_HALVES(_mm512_cvtepi8_epi16, _mm256_cvtepi8_epi16)
EMULATED_WIDEN_HALVES(_mm512_cvtepu8_epi16, _mm256_cvtepu8_epi16)
EMULATED_WIDEN_HALVES(_mm512_cvtepu16_epi32, _mm256_cvtepu16_epi32)
EMULATED __m256i _mm512_cvtepi32_epi16(__m512i v) {
  return emulated_avx512::narrow<__m256i, std::uint16_t, std::uint32_t>(v);
}
EMULATED __m128i _mm512_cvtepi32_epi8(__m512i v) {
  return emulated_avx512::narrow<__m128i, std::uint8_t, std::uint32_t>(v);
}

// Comparisons and masks.

EMULATED __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
  return emulated_avx512::mask_of(
      _mm256_cmp_ps(emulated_avx512::low(a), emulated_avx512::low(b), predicate),
      _mm256_cmp_ps(emulated_avx512::high(a), emulated_avx512::high(b), predicate));
}
EMULATED __mmask16 _mm512_cmpgt_epi32_mask(__m512i a, __m512i b) {
  return emulated_avx512::mask_of(
      _mm256_castsi256_ps(_mm256_cmpgt_epi32(emulated_avx512::low(a), emulated_avx512::low(b))),
      _mm256_castsi256_ps(_mm256_cmpgt_epi32(emulated_avx512::high(a), emulated_avx512::high(b))));
}
EMULATED __mmask16 _mm512_cmplt_epi32_mask(__m512i a, __m512i b) {
  return _mm512_cmpgt_epi32_mask(b, a);
}
EMULATED __mmask16 _mm512_cmpge_epi32_mask(__m512i a, __m512i b) {
  return static_cast<__mmask16>(~_mm512_cmpgt_epi32_mask(b, a));
}

// b where the mask has a bit, a elsewhere.
EMULATED __m512 _mm512_mask_blend_ps(__mmask16 mask, __m512 a, __m512 b) {
  return emulated_avx512::join(
      _mm256_blendv_ps(emulated_avx512::low(a), emulated_avx512::low(b),
                       _mm256_castsi256_ps(emulated_avx512::chosen_words(mask))),
      _mm256_blendv_ps(emulated_avx512::high(a), emulated_avx512::high(b),
                       _mm256_castsi256_ps(emulated_avx512::chosen_words(mask >> 8))));
}
EMULATED __m512i _mm512_mask_blend_epi32(__mmask16 mask, __m512i a, __m512i b) {
  return _mm512_castps_si512(
      _mm512_mask_blend_ps(mask, _mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}
EMULATED __m512 _mm512_mask_mov_ps(__m512 rest, __mmask16 mask, __m512 v) {
  return _mm512_mask_blend_ps(mask, rest, v);
}
EMULATED __m512 _mm512_maskz_mov_ps(__mmask16 mask, __m512 v) {
  return _mm512_mask_blend_ps(mask, _mm512_setzero_ps(), v);
}
EMULATED __m512i _mm512_mask_or_epi32(__m512i rest, __mmask16 mask, __m512i a, __m512i b) {
  return _mm512_mask_blend_epi32(mask, rest, _mm512_or_si512(a, b));
}
EMULATED __m512i _mm512_mask_sllv_epi32(__m512i rest, __mmask16 mask, __m512i a, __m512i count) {
  return _mm512_mask_blend_epi32(mask, rest, _mm512_sllv_epi32(a, count));
}

// Permutations.

EMULATED __m512 _mm512_permute_ps(__m512 v, int order) {
  return emulated_avx512::join(_mm256_permute_ps(emulated_avx512::low(v), order),
                               _mm256_permute_ps(emulated_avx512::high(v), order));
}
// Two quarters of a, then two of b.
EMULATED __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int order) {
  const auto from_a = emulated_avx512::bits<emulated_avx512::Lanes<__m128>>(a);
  const auto from_b = emulated_avx512::bits<emulated_avx512::Lanes<__m128>>(b);
  return emulated_avx512::join(
      _mm256_set_m128(from_a.at[order >> 2 & 3], from_a.at[order & 3]),
      _mm256_set_m128(from_b.at[order >> 6 & 3], from_b.at[order >> 4 & 3]));
}
// The low 4 bits of an index number a lane, the next one of two vectors; others are ignored.
EMULATED __m512i _mm512_permutexvar_epi32(__m512i index, __m512i v) {
  const auto from = emulated_avx512::bits<emulated_avx512::Lanes<int>>(v);
  auto lanes = emulated_avx512::bits<emulated_avx512::Lanes<int>>(index);
  for (int& lane : lanes.at) lane = from.at[lane & 15];
  return emulated_avx512::bits<__m512i>(lanes);
}
EMULATED __m512 _mm512_permutexvar_ps(__m512i index, __m512 v) {
  return _mm512_castsi512_ps(_mm512_permutexvar_epi32(index, _mm512_castps_si512(v)));
}

// Reductions, halves upon halves as GCC orders them (which matters to sums of floats and to NaNs).

EMULATED float _mm512_reduce_max_ps(__m512 v) {
  const __m256 eight = _mm256_max_ps(emulated_avx512::high(v), emulated_avx512::low(v));
  const __m128 four = _mm_max_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
  const __m128 two = _mm_max_ps(four, _mm_permute_ps(four, 0x4E));
  return _mm_cvtss_f32(_mm_max_ps(two, _mm_permute_ps(two, 0x11)));
}
EMULATED int _mm512_reduce_add_epi32(__m512i v) {
  unsigned sum = 0;
  for (const unsigned x : emulated_avx512::bits<emulated_avx512::Lanes<unsigned>>(v).at) sum += x;
  return static_cast<int>(sum);
}
EMULATED int _mm512_reduce_max_epi32(__m512i v) {
  const auto lanes = emulated_avx512::bits<emulated_avx512::Lanes<int>>(v);
  int highest = lanes.at[0];
  for (const int x : lanes.at) highest = x > highest ? x : highest;
  return highest;
}
EMULATED long long _mm512_reduce_add_epi64(__m512i v) {
  const auto lanes = emulated_avx512::bits<emulated_avx512::Lanes<unsigned long long>>(v);
  unsigned long long sum = 0;
  for (const unsigned long long x : lanes.at) sum += x;
  return static_cast<long long>(sum);
}

#undef EMULATED
#undef EMULATED_FLOATS_1
#undef EMULATED_FLOATS_2
#undef EMULATED_FLOATS_3
#undef EMULATED_INTEGERS_1
#undef EMULATED_INTEGERS_2
#undef EMULATED_SHIFT
#undef EMULATED_WIDEN_QUARTERS
#undef EMULATED_WIDEN_HALVES
#pragma GCC diagnostic pop
