#pragma once

#include "kernels/matmul_table.h"

// Included after the matmul_job.h of an instruction set.
namespace sampan {
namespace {

inline void add_block32_entries(MatmulTable& table) {
  table.panels[static_cast<int>(DType::kQ4_0)] = multiply_panels<Q4_0>;
  table.panels[static_cast<int>(DType::kQ4_1)] = multiply_panels<Q4_1>;
  table.panels[static_cast<int>(DType::kQ5_0)] = multiply_panels<Q5_0>;
  table.panels[static_cast<int>(DType::kQ5_1)] = multiply_panels<Q5_1>;
  table.panels[static_cast<int>(DType::kQ8_0)] = multiply_panels<Q8_0>;
  table.panels[static_cast<int>(DType::kIQ4_NL)] = multiply_panels<Iq4Nl>;
  table.panels[static_cast<int>(DType::kMXFP4)] = multiply_panels<Mxfp4>;
}

}  // namespace
}  // namespace sampan
