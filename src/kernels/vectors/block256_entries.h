#pragma once

#include "kernels/matmul_table.h"

// Included after the matmul_job.h of an instruction set.
namespace sampan {
namespace {

inline void add_block256_entries(MatmulTable& table) {
  table.panels[static_cast<int>(DType::kQ2_K)] = multiply_panels<Q2K>;
  table.panels[static_cast<int>(DType::kQ3_K)] = multiply_panels<Q3K>;
  table.panels[static_cast<int>(DType::kQ4_K)] = multiply_panels<Q4K>;
  table.panels[static_cast<int>(DType::kQ5_K)] = multiply_panels<Q5K>;
  table.panels[static_cast<int>(DType::kQ6_K)] = multiply_panels<Q6K>;
  table.panels[static_cast<int>(DType::kIQ4_XS)] = multiply_panels<Iq4Xs>;
}

}  // namespace
}  // namespace sampan
