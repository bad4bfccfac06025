#pragma once

#include "kernels/matmul_table.h"

// Included after the matmul_job.h of an instruction set.
namespace sampan {
namespace {

// Panels of kernels/quantized_panels.h that no block type of GGUF has.
inline void add_published_entries(MatmulTable& table) {
  table.panels[static_cast<int>(DType::kI4Zero)] = multiply_panels<I4Zero>;
  table.panels[static_cast<int>(DType::kI8Zero)] = multiply_panels<I8Zero>;
  table.panels[static_cast<int>(DType::kF8Block)] = multiply_panels<F8Block>;
}

}  // namespace
}  // namespace sampan
