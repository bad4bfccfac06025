#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/quantized_matrix.h"

// Matrices in the published quantised forms with random codes, for the tests of their panels.
namespace sampan::quantized_test {

// A matrix and the memory of its tensors.
struct Made {
  QuantizedMatrix matrix;
  std::vector<std::vector<std::byte>> memory;
};

struct Form {
  std::string name;
  DType panels;  // that it should be packed into
  Made (*make)(std::int64_t rows, std::int64_t columns, std::uint32_t seed);
};

// Any rows that are a multiple of 16, columns a multiple of 64.
const std::vector<Form>& forms();

}  // namespace sampan::quantized_test
