#include <immintrin.h>

#include "kernels/pack_formats.h"

namespace sampan {
namespace {

// 64 bytes: rows 0 to 7, rows 8 to 15.
struct TwoHalves {
  __m256i first, second;

  SAMPAN_INLINE friend TwoHalves operator&(TwoHalves a, TwoHalves b) {
    return {_mm256_and_si256(a.first, b.first), _mm256_and_si256(a.second, b.second)};
  }
  SAMPAN_INLINE friend TwoHalves operator|(TwoHalves a, TwoHalves b) {
    return {_mm256_or_si256(a.first, b.first), _mm256_or_si256(a.second, b.second)};
  }
  SAMPAN_INLINE friend TwoHalves operator^(TwoHalves a, TwoHalves b) {
    return {_mm256_xor_si256(a.first, b.first), _mm256_xor_si256(a.second, b.second)};
  }
};

struct Avx2 {
  using Line = TwoHalves;

  SAMPAN_INLINE static Line both(__m256i half) { return {half, half}; }
  SAMPAN_INLINE static Line bytes(int value) {
    return both(_mm256_set1_epi8(static_cast<char>(value)));
  }
  SAMPAN_INLINE static Line words(std::uint32_t value) {
    return both(_mm256_set1_epi32(static_cast<int>(value)));
  }
  SAMPAN_INLINE static Line subtract_bytes(Line a, Line b) {
    return {_mm256_sub_epi8(a.first, b.first), _mm256_sub_epi8(a.second, b.second)};
  }
  template <int kBits>
  SAMPAN_INLINE static Line down(Line line) {
    return {_mm256_srli_epi32(line.first, kBits), _mm256_srli_epi32(line.second, kBits)};
  }
  template <int kBits>
  SAMPAN_INLINE static Line up(Line line) {
    return {_mm256_slli_epi32(line.first, kBits), _mm256_slli_epi32(line.second, kBits)};
  }

  SAMPAN_INLINE static void store(std::uint8_t* out, Line line) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), line.first);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + 32), line.second);
  }
  SAMPAN_INLINE static __m256i low_halves(Line line) {
    const Line low = line & words(0xFFFF);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(low.first, low.second), 0xD8);
  }
  SAMPAN_INLINE static void store_low_halves(std::uint8_t* out, Line line) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low_halves(line));
  }
  SAMPAN_INLINE static void store_low_bytes(std::uint8_t* out, Line line) {
    const __m256i halves = low_halves(line & words(0xFF));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out),
        _mm_packus_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
  }

  SAMPAN_INLINE static __m256i load_rows(const std::byte* low, const std::byte* high) {
    return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(high),
                               reinterpret_cast<const __m128i*>(low));
  }

  // Rows first … first + 7 of all four lines: lane i of quarter j is row first + 4 i + j, so that
  // transposing 4 x 4 words in every lane leaves the rows in order.
  SAMPAN_INLINE static void load_half(const std::byte* const* rows, std::ptrdiff_t offset,
                                      __m256i (&lines)[4]) {
    __m256i quarter[4];
    for (int j = 0; j < 4; ++j) {
      quarter[j] = load_rows(rows[j] + offset, rows[j + 4] + offset);
    }
    const __m256i low01 = _mm256_unpacklo_epi32(quarter[0], quarter[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(quarter[2], quarter[3]);
    const __m256i high01 = _mm256_unpackhi_epi32(quarter[0], quarter[1]);
    const __m256i high23 = _mm256_unpackhi_epi32(quarter[2], quarter[3]);
    lines[0] = _mm256_unpacklo_epi64(low01, low23);
    lines[1] = _mm256_unpackhi_epi64(low01, low23);
    lines[2] = _mm256_unpacklo_epi64(high01, high23);
    lines[3] = _mm256_unpackhi_epi64(high01, high23);
  }

  SAMPAN_INLINE static void load(const std::byte* const* rows, std::ptrdiff_t offset,
                                 Line (&lines)[4]) {
    __m256i first[4], second[4];
    load_half(rows, offset, first);
    load_half(rows + 8, offset, second);
    for (int g = 0; g < 4; ++g) lines[g] = {first[g], second[g]};
  }
};

}  // namespace

const PackTable& pack_table_avx2() {
  static const PackTable table = make_pack_table<Avx2>("avx2");
  return table;
}

}  // namespace sampan
