#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/attention_table.h"
#include "kernels/isa_tables.h"
#include "kernels/matmul_table.h"
#include "kernels/ops_table.h"
#include "kernels/pack_table.h"
#include "kernels/peaks.h"

namespace sampan {
namespace {

// Besides DotProd the tables need what every AArch64 machine has.
bool has_dot_products() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_matrix_products() {
  return has_dot_products() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}

constexpr IsaTables kTables[] = {
    {.isa = Isa::kNeon,
     .supported = has_dot_products,
     .matmul = matmul_table_neon,
     .matmul_base = matmul_table_neon,
     .ops = ops_table_neon,
     .attention = attention_table_neon,
     .pack = pack_table_neon,
     .peaks = peak_table_neon},
    {.isa = Isa::kI8mm,
     .supported = has_matrix_products,
     .matmul = matmul_table_i8mm,
     .matmul_base = matmul_table_i8mm,
     .ops = ops_table_neon,
     .attention = attention_table_neon,
     .pack = pack_table_neon,
     .peaks = peak_table_i8mm},
};

}  // namespace

std::span<const IsaTables> processor_tables() { return kTables; }

bool has_bf16_products() { return false; }

}  // namespace sampan
