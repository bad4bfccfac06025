#include <immintrin.h>

#include "kernels/pack_formats.h"

namespace sampan {
namespace {

struct Avx512 {
  using Line = __m512i;

  SAMPAN_INLINE static Line bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  SAMPAN_INLINE static Line words(std::uint32_t value) {
    return _mm512_set1_epi32(static_cast<int>(value));
  }
  SAMPAN_INLINE static Line subtract_bytes(Line a, Line b) { return _mm512_sub_epi8(a, b); }
  template <int kBits>
  SAMPAN_INLINE static Line down(Line line) {
    return _mm512_srli_epi32(line, kBits);
  }
  template <int kBits>
  SAMPAN_INLINE static Line up(Line line) {
    return _mm512_slli_epi32(line, kBits);
  }

  SAMPAN_INLINE static void store(std::uint8_t* out, Line line) { _mm512_store_si512(out, line); }
  SAMPAN_INLINE static void store_low_halves(std::uint8_t* out, Line line) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(line));
  }
  SAMPAN_INLINE static void store_low_bytes(std::uint8_t* out, Line line) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(line));
  }

  SAMPAN_INLINE static __m128i load16(const std::byte* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }

  // Lane i of quarter j is row 4 i + j, so that transposing 4 x 4 words in every lane leaves the
  // rows in order.
  SAMPAN_INLINE static void load(const std::byte* const* rows, std::ptrdiff_t offset,
                                 Line (&lines)[4]) {
    __m512i quarter[4];
    for (int j = 0; j < 4; ++j) {
      __m512i q = _mm512_castsi128_si512(load16(rows[j] + offset));
      q = _mm512_inserti32x4(q, load16(rows[j + 4] + offset), 1);
      q = _mm512_inserti32x4(q, load16(rows[j + 8] + offset), 2);
      quarter[j] = _mm512_inserti32x4(q, load16(rows[j + 12] + offset), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(quarter[0], quarter[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(quarter[2], quarter[3]);
    const __m512i high01 = _mm512_unpackhi_epi32(quarter[0], quarter[1]);
    const __m512i high23 = _mm512_unpackhi_epi32(quarter[2], quarter[3]);
    lines[0] = _mm512_unpacklo_epi64(low01, low23);
    lines[1] = _mm512_unpackhi_epi64(low01, low23);
    lines[2] = _mm512_unpacklo_epi64(high01, high23);
    lines[3] = _mm512_unpackhi_epi64(high01, high23);
  }
};

}  // namespace

const PackTable& pack_table_avx512() {
  static const PackTable table = make_pack_table<Avx512>("avx512");
  return table;
}

}  // namespace sampan
