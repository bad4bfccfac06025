#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "tensor/dtype.h"
#include "tensor/half.h"
#include "tensor/tensor.h"

// Weights and activations for the tests of matrix products.
namespace sampan::matmul_test {

inline const std::vector<DType> kBlockTypes = {
    DType::kQ4_0,   DType::kQ4_1,   DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
    DType::kQ2_K,   DType::kQ3_K,   DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
    DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};
inline const std::vector<DType> kFloatTypes = {DType::kF32, DType::kF16, DType::kBF16};

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kAllIsas) {
    if (isa_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

// Offsets of the f16 fields of a block.
std::vector<int> half_offsets(DType dtype);

enum class Codes { kRandom, kZeros, kOnes };  // all bits
enum class Scales { kRandom, kLargest, kSubnormal, kInfinite, kNegative };

// A matrix of blocks with codes and sub-scales of all bit patterns and scales as asked.
std::vector<std::byte> random_blocks(DType dtype, std::int64_t rows, std::int64_t columns,
                                     Codes codes, Scales scales, std::uint32_t seed);

// Floats of a normal distribution as F32, F16 or BF16, starting at an odd address (skip the first
// byte).
std::vector<std::byte> random_floats(DType dtype, std::int64_t count, std::uint32_t seed);

std::vector<float> random_activations(std::int64_t count, std::uint32_t seed);

inline TensorView view(DType dtype, std::int64_t rows, std::int64_t columns,
                       const std::byte* data) {
  return {dtype, {rows, columns}, data};
}

// Equal to the bit, but any NaN equals any other.
bool same_float(float a, float b);

}  // namespace sampan::matmul_test
