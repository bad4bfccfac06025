#include <cpuid.h>

#include "kernels/attention_table.h"
#include "kernels/isa_tables.h"
#include "kernels/matmul_table.h"
#include "kernels/ops_table.h"
#include "kernels/pack_table.h"
#include "kernels/peaks.h"

namespace sampan {
namespace {

// clang 14's __builtin_cpu_supports does not know the name.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

#ifdef SAMPAN_EMULATE
// The tables are compiled for AVX2 (tests/kernels/emulated_*.h).
bool has_avxvnni() { return has_avx2(); }
bool has_avx512() { return has_avx2(); }
bool has_avx512_bf16() { return true; }
#else
// Asked of the processor as well: not every compiler knows the name.
bool has_avxvnni() {
  constexpr unsigned kAvxVnni = 1u << 4;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}
bool has_avx512_bf16() { return __builtin_cpu_supports("avx512bf16"); }
#endif

constexpr IsaTables kTables[] = {
    {.isa = Isa::kAvx2,
     .supported = has_avx2,
     .matmul = matmul_table_avx2,
     .matmul_base = matmul_table_avx2,
     .ops = ops_table_avx2,
     .attention = attention_table_avx2,
     .pack = pack_table_avx2,
     .peaks = peak_table_avx2},
    {.isa = Isa::kAvxVnni,
     .supported = has_avxvnni,
     .matmul = matmul_table_avxvnni,
     .matmul_base = matmul_table_avxvnni,
     .ops = ops_table_avx2,
     .attention = attention_table_avx2,
     .pack = pack_table_avx2,
     .peaks = peak_table_avxvnni},
    {.isa = Isa::kAvx512,
     .supported = has_avx512,
     .matmul = matmul_table_avx512,
     .matmul_base = matmul_table_avx512_base,
     .ops = ops_table_avx512,
     .attention = attention_table_avx512,
     .pack = pack_table_avx512,
     .peaks = peak_table_avx512},
};

}  // namespace

std::span<const IsaTables> processor_tables() { return kTables; }

bool has_bf16_products() { return has_avx512() && has_avx512_bf16(); }

}  // namespace sampan
