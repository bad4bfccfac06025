#include "kernels/matmul_test_data.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "tensor/blocks.h"

namespace sampan::matmul_test {
namespace {

std::uint16_t random_scale(Scales kind, std::mt19937& random) {
  std::uniform_real_distribution<float> spread(0.25f, 1.0f);
  switch (kind) {
    case Scales::kRandom:
      return float_to_f16(spread(random) * (random() % 2 == 0 ? 0.01f : -0.01f));
    case Scales::kLargest:
      return 0x7BFF;
    case Scales::kSubnormal:
      return static_cast<std::uint16_t>(random() % 0x400);
    case Scales::kInfinite:
      return random() % 3 == 0 ? 0x7C00 : float_to_f16(spread(random));
    case Scales::kNegative:
      return float_to_f16(-spread(random));
  }
  return 0;
}

// 2^(e - 128) about 0.01, or as extreme as the kind says.
std::uint8_t random_exponent(Scales kind, std::mt19937& random) {
  switch (kind) {
    case Scales::kLargest:
    case Scales::kInfinite:
      return 255;
    case Scales::kSubnormal:
      return static_cast<std::uint8_t>(random() % 4);
    default:
      return static_cast<std::uint8_t>(118 + random() % 8);
  }
}

}  // namespace

std::vector<int> half_offsets(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)};
    case DType::kQ3_K:
      return {offsetof(BlockQ3_K, d)};
    case DType::kQ6_K:
      return {offsetof(BlockQ6_K, d)};
    case DType::kMXFP4:
      return {};
    default:
      return {0};
  }
}

std::vector<std::byte> random_blocks(DType dtype, std::int64_t rows, std::int64_t columns,
                                     Codes codes, Scales scales, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * row_bytes(dtype, columns)));
  for (std::byte& byte : bytes) {
    const auto bits = codes == Codes::kRandom  ? random() & 255u
                      : codes == Codes::kZeros ? 0u
                                               : 255u;
    byte = static_cast<std::byte>(bits);
  }
  const auto block_bytes = static_cast<std::size_t>(dtype_info(dtype).block_bytes);
  for (std::size_t block = 0; block < bytes.size(); block += block_bytes) {
    for (const int offset : half_offsets(dtype)) {
      const std::uint16_t scale = random_scale(scales, random);
      std::memcpy(bytes.data() + block + static_cast<std::size_t>(offset), &scale, 2);
    }
    if (dtype == DType::kMXFP4)
      bytes[block] = static_cast<std::byte>(random_exponent(scales, random));
  }
  return bytes;
}

std::vector<std::byte> random_floats(DType dtype, std::int64_t count, std::uint32_t seed) {
  const std::vector<float> values = random_activations(count, seed);
  std::vector<std::byte> bytes(1);
  for (const float value : values) {
    std::byte field[4];
    std::memcpy(field, &value, 4);
    if (dtype != DType::kF32) {
      const std::uint16_t bits = dtype == DType::kF16 ? float_to_f16(value) : float_to_bf16(value);
      std::memcpy(field, &bits, 2);
    }
    bytes.insert(bytes.end(), field, field + dtype_info(dtype).block_bytes);
  }
  return bytes;
}

std::vector<float> random_activations(std::int64_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

bool same_float(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

}  // namespace sampan::matmul_test
