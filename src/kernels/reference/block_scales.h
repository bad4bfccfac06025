#pragma once

#include <bit>
#include <cstdint>

namespace sampan {

// The packed 6-bit scales of the k-quants, and the scale byte of MXFP4. Internal to the codec.

// 16 scales, 0 to 63 (32 stands for zero).
inline void unpack_scales_q3_k(const std::uint8_t packed[12], std::uint8_t scales[16]) {
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    scales[g] = static_cast<std::uint8_t>(low | high << 4);
  }
}

inline void pack_scales_q3_k(const std::uint8_t scales[16], std::uint8_t packed[12]) {
  for (int i = 0; i < 12; ++i) packed[i] = 0;
  for (int g = 0; g < 16; ++g) {
    const int low = scales[g] & 15;
    packed[g % 8] = static_cast<std::uint8_t>(packed[g % 8] | (g < 8 ? low : low << 4));
    packed[8 + g % 4] =
        static_cast<std::uint8_t>(packed[8 + g % 4] | (scales[g] >> 4) << (2 * (g / 4)));
  }
}

// 8 scales and 8 minima, 0 to 63; Q4_K and Q5_K.
inline void unpack_scales_q4_k(const std::uint8_t packed[12], std::uint8_t scales[8],
                               std::uint8_t minima[8]) {
  for (int g = 0; g < 4; ++g) {
    scales[g] = packed[g] & 63;
    minima[g] = packed[g + 4] & 63;
    scales[g + 4] = static_cast<std::uint8_t>((packed[g + 8] & 15) | (packed[g] >> 6) << 4);
    minima[g + 4] = static_cast<std::uint8_t>((packed[g + 8] >> 4) | (packed[g + 4] >> 6) << 4);
  }
}

inline void pack_scales_q4_k(const std::uint8_t scales[8], const std::uint8_t minima[8],
                             std::uint8_t packed[12]) {
  for (int g = 0; g < 4; ++g) {
    packed[g] = static_cast<std::uint8_t>(scales[g] | (scales[g + 4] >> 4) << 6);
    packed[g + 4] = static_cast<std::uint8_t>(minima[g] | (minima[g + 4] >> 4) << 6);
    packed[g + 8] = static_cast<std::uint8_t>((scales[g + 4] & 15) | (minima[g + 4] & 15) << 4);
  }
}

// 2^(e - 128), the scale of MXFP4 for doubled values; e = 0 and 1 are subnormal.
inline float e8m0_half_to_float(std::uint8_t e) {
  const std::uint32_t bits = e < 2 ? 0x00200000u << e : static_cast<std::uint32_t>(e - 1) << 23;
  return std::bit_cast<float>(bits);
}

}  // namespace sampan
