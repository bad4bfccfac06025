#include <arm_neon.h>

#include "kernels/pack_formats.h"

namespace sampan {
namespace {

// 64 bytes: 4 rows a quarter.
struct FourQuarters {
  uint32x4_t quarter[4];

  SAMPAN_INLINE friend FourQuarters operator&(FourQuarters a, FourQuarters b) {
    for (int i = 0; i < 4; ++i) a.quarter[i] = vandq_u32(a.quarter[i], b.quarter[i]);
    return a;
  }
  SAMPAN_INLINE friend FourQuarters operator|(FourQuarters a, FourQuarters b) {
    for (int i = 0; i < 4; ++i) a.quarter[i] = vorrq_u32(a.quarter[i], b.quarter[i]);
    return a;
  }
  SAMPAN_INLINE friend FourQuarters operator^(FourQuarters a, FourQuarters b) {
    for (int i = 0; i < 4; ++i) a.quarter[i] = veorq_u32(a.quarter[i], b.quarter[i]);
    return a;
  }
};

struct Neon {
  using Line = FourQuarters;

  SAMPAN_INLINE static Line words(std::uint32_t value) {
    const uint32x4_t quarter = vdupq_n_u32(value);
    return {{quarter, quarter, quarter, quarter}};
  }
  SAMPAN_INLINE static Line bytes(int value) {
    return words(static_cast<std::uint32_t>(value) * 0x01010101u);
  }
  SAMPAN_INLINE static Line subtract_bytes(Line a, Line b) {
    for (int i = 0; i < 4; ++i) {
      a.quarter[i] = vreinterpretq_u32_u8(
          vsubq_u8(vreinterpretq_u8_u32(a.quarter[i]), vreinterpretq_u8_u32(b.quarter[i])));
    }
    return a;
  }
  template <int kBits>
  SAMPAN_INLINE static Line down(Line line) {
    for (uint32x4_t& quarter : line.quarter) quarter = vshrq_n_u32(quarter, kBits);
    return line;
  }
  template <int kBits>
  SAMPAN_INLINE static Line up(Line line) {
    for (uint32x4_t& quarter : line.quarter) quarter = vshlq_n_u32(quarter, kBits);
    return line;
  }

  SAMPAN_INLINE static void store(std::uint8_t* out, Line line) {
    for (int i = 0; i < 4; ++i) vst1q_u8(out + 16 * i, vreinterpretq_u8_u32(line.quarter[i]));
  }
  // Of two quarters.
  SAMPAN_INLINE static uint16x8_t low_halves(uint32x4_t first, uint32x4_t second) {
    return vcombine_u16(vmovn_u32(first), vmovn_u32(second));
  }
  SAMPAN_INLINE static void store_low_halves(std::uint8_t* out, Line line) {
    const uint16x8_t first = low_halves(line.quarter[0], line.quarter[1]);
    const uint16x8_t second = low_halves(line.quarter[2], line.quarter[3]);
    vst1q_u8(out, vreinterpretq_u8_u16(first));
    vst1q_u8(out + 16, vreinterpretq_u8_u16(second));
  }
  SAMPAN_INLINE static void store_low_bytes(std::uint8_t* out, Line line) {
    const uint16x8_t first = low_halves(line.quarter[0], line.quarter[1]);
    const uint16x8_t second = low_halves(line.quarter[2], line.quarter[3]);
    vst1q_u8(out, vcombine_u8(vmovn_u16(first), vmovn_u16(second)));
  }

  SAMPAN_INLINE static uint32x4_t load_row(const std::byte* row) {
    return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(row)));
  }
  SAMPAN_INLINE static uint32x4_t first_pairs(uint32x4_t a, uint32x4_t b) {
    return vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
  }
  SAMPAN_INLINE static uint32x4_t second_pairs(uint32x4_t a, uint32x4_t b) {
    return vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
  }

  // Transposes the 4 x 4 words of every 4 rows.
  SAMPAN_INLINE static void load(const std::byte* const* rows, std::ptrdiff_t offset,
                                 Line (&lines)[4]) {
    for (int i = 0; i < 4; ++i) {
      uint32x4_t row[4];
      for (int j = 0; j < 4; ++j) row[j] = load_row(rows[4 * i + j] + offset);
      const uint32x4_t even01 = vtrn1q_u32(row[0], row[1]), odd01 = vtrn2q_u32(row[0], row[1]);
      const uint32x4_t even23 = vtrn1q_u32(row[2], row[3]), odd23 = vtrn2q_u32(row[2], row[3]);
      lines[0].quarter[i] = first_pairs(even01, even23);
      lines[1].quarter[i] = first_pairs(odd01, odd23);
      lines[2].quarter[i] = second_pairs(even01, even23);
      lines[3].quarter[i] = second_pairs(odd01, odd23);
    }
  }
};

}  // namespace

const PackTable& pack_table_neon() {
  static const PackTable table = make_pack_table<Neon>("neon");
  return table;
}

}  // namespace sampan
