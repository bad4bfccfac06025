#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

// Plain floats as files hold them. For the sources of this folder alone: everything has internal
// linkage.
namespace sampan {
namespace {

// kBytes of a weight; widen() the 4 that lie at p.
struct F32Weights {
  static constexpr int kBytes = 4;
  static float32x4_t widen(const std::byte* p) {
    return vreinterpretq_f32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
  }
};
struct F16Weights {
  static constexpr int kBytes = 2;
  static float32x4_t widen(const std::byte* p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(p))));
  }
};
struct BF16Weights {
  static constexpr int kBytes = 2;
  static float32x4_t widen(const std::byte* p) {
    const uint8x8_t bits = vld1_u8(reinterpret_cast<const std::uint8_t*>(p));
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(bits), 16));
  }
};

}  // namespace
}  // namespace sampan
