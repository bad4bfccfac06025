#pragma once

#include "kernels/matmul_table.h"

namespace sampan {

// Each fills its part of the table (one source file each).
void add_block32_entries_avx2(MatmulTable& table);
void add_published_entries_avx2(MatmulTable& table);
void add_block256_entries_avx2(MatmulTable& table);
void add_float_entries_avx2(MatmulTable& table);
void add_lane_entries_avx2(MatmulTable& table);
void add_quantize_entries_avx2(MatmulTable& table);

// The products of panels by AVX-VNNI (avxvnni/), in place of those.
void add_block32_entries_avxvnni(MatmulTable& table);
void add_published_entries_avxvnni(MatmulTable& table);
void add_block256_entries_avxvnni(MatmulTable& table);

}  // namespace sampan
