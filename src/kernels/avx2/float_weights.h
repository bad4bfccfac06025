#pragma once

#include <immintrin.h>

#include <cstddef>

// Plain floats as files hold them. For the sources of this folder alone: everything has internal
// linkage.
namespace sampan {
namespace {

// kBytes of a weight; widen() the 8 that lie at p.
struct F32Weights {
  static constexpr int kBytes = 4;
  static __m256 widen(const std::byte* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};
struct F16Weights {
  static constexpr int kBytes = 2;
  static __m256 widen(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};
struct BF16Weights {
  static constexpr int kBytes = 2;
  static __m256 widen(const std::byte* p) {
    const __m256i bits =
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  }
};

// The first or second of each pair of BF16 numbers.
inline __m256 first_of_bf16_pairs(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline __m256 second_of_bf16_pairs(__m256i pairs) {
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u))));
}

}  // namespace
}  // namespace sampan
