#pragma once

#include <cstdint>

namespace sampan {

// The 8-bit form of the key-value cache (DType::kQ8_0): codes in [-127, 127] and for every 32
// numbers of a key, value or latent (fewer at its end) an f16 scale; a number is code * scale,
// rounded to float. Unlike in a Q8_0 block the scales of a page lie behind all of its codes.
inline constexpr std::int64_t kCacheScaleColumns = 32;

constexpr std::int64_t cache_scales(std::int64_t width) {
  return (width + kCacheScaleColumns - 1) / kCacheScaleColumns;
}

// codes (n) and scales (cache_scales(n)) of x (n):
//   scale = f16(max |x| / 127), code = x * (1 / scale) rounded to nearest even, at most 127
// all 0 where the scale rounds to 0. 32 numbers with an infinity or a NaN, or one beyond what a
// scale holds (127 * 65504), read back as NaN.
void encode_cache_row(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales);

// x[i] = codes[i] * scales[i / 32].
void decode_cache_row(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                      float* x);

// n scales as floats, valid until this thread's next call.
const float* widen_cache_scales(const std::uint16_t* scales, std::int64_t n);

}  // namespace sampan
