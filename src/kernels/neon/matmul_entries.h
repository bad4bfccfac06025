#pragma once

#include "kernels/matmul_table.h"

namespace sampan {

// Each fills its part of the table (one source file each).
void add_block32_entries_neon(MatmulTable& table);
void add_published_entries_neon(MatmulTable& table);
void add_block256_entries_neon(MatmulTable& table);
void add_float_entries_neon(MatmulTable& table);
void add_quantize_entries_neon(MatmulTable& table);

// The products of panels by I8MM (i8mm/), in place of those.
void add_block32_entries_i8mm(MatmulTable& table);
void add_published_entries_i8mm(MatmulTable& table);
void add_block256_entries_i8mm(MatmulTable& table);

}  // namespace sampan
