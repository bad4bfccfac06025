#pragma once

#include "kernels/matmul_table.h"

namespace sampan {

// Each fills its part of the table (one source file each).
void add_block32_entries_avx512(MatmulTable& table);
void add_published_entries_avx512(MatmulTable& table);
void add_block256_entries_avx512(MatmulTable& table);
void add_float_entries_avx512(MatmulTable& table);
void add_lane_entries_avx512(MatmulTable& table);
void add_quantize_entries_avx512(MatmulTable& table);

// bf16_pairs and bf16_pair_lanes by vdpbf16ps, for machines with AVX512_BF16.
void add_bf16_entries_avx512(MatmulTable& table);

}  // namespace sampan
