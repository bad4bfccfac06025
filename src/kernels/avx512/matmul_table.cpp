#include "kernels/avx512/matmul_entries.h"

namespace sampan {
namespace {

MatmulTable make_base_table() {
  MatmulTable table = {};
  table.name = "avx512";
  table.strip_panels = 2;
  add_block32_entries_avx512(table);
  add_published_entries_avx512(table);
  add_block256_entries_avx512(table);
  add_float_entries_avx512(table);
  add_lane_entries_avx512(table);
  add_quantize_entries_avx512(table);
  return table;
}

MatmulTable make_table() {
  MatmulTable table = make_base_table();
  if (has_bf16_products()) add_bf16_entries_avx512(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_avx512() {
  static const MatmulTable table = make_table();
  return table;
}

const MatmulTable& matmul_table_avx512_base() {
  static const MatmulTable table = make_base_table();
  return table;
}

}  // namespace sampan
