#include "kernels/cache_codes.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "kernels/ops_table.h"
#include "tensor/half.h"

namespace sampan {
namespace {

constexpr std::uint16_t kNanScale = 0x7E00;
constexpr std::uint16_t kInfiniteScale = 0x7C00;
constexpr std::uint32_t kInfinityBits = 0x7F800000;

// Largest |x| as bits: they order like the numbers, with NaN above infinity.
std::uint32_t highest_bits(const float* x, std::int64_t n) {
  std::uint32_t highest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    highest = std::max(highest, std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu);
  }
  return highest;
}

// Adding and taking away 1.5 * 2^23 rounds what is below 2^22 to nearest even.
float round_to_even(float x) {
  constexpr float kRound = 12582912.0f;
  return x + kRound - kRound;
}

std::uint16_t encode_group(const float* x, std::int64_t n, std::int8_t* codes) {
  const std::uint32_t highest = highest_bits(x, n);
  const std::uint16_t scale =
      highest >= kInfinityBits ? kNanScale : float_to_f16(std::bit_cast<float>(highest) / 127.0f);
  if (scale == 0 || scale >= kInfiniteScale) {
    std::fill_n(codes, n, std::int8_t{0});
    return scale == 0 ? scale : kNanScale;
  }
  const float inverse = 1.0f / f16_to_float(scale);
  for (std::int64_t i = 0; i < n; ++i) {
    // A subnormal scale may be so much smaller than asked for that a code would not fit.
    const float code = std::clamp(round_to_even(x[i] * inverse), -127.0f, 127.0f);
    codes[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(code));
  }
  return scale;
}

}  // namespace

void encode_cache_row(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales) {
  for (std::int64_t i = 0; i < n; i += kCacheScaleColumns) {
    scales[i / kCacheScaleColumns] =
        encode_group(x + i, std::min(kCacheScaleColumns, n - i), codes + i);
  }
}

void decode_cache_row(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                      float* x) {
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(codes[i]) * f16_to_float(scales[i / kCacheScaleColumns]);
  }
}

const float* widen_cache_scales(const std::uint16_t* scales, std::int64_t n) {
  static thread_local std::vector<float> floats;
  if (floats.size() < static_cast<std::size_t>(n)) floats.resize(static_cast<std::size_t>(n));
  active_ops_table().widen_f16(scales, n, floats.data());
  return floats.data();
}

}  // namespace sampan
