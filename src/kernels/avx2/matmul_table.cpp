#include "kernels/avx2/matmul_entries.h"

namespace sampan {
namespace {

MatmulTable make_table() {
  MatmulTable table = {};
  table.name = "avx2";
  table.strip_panels = 1;
  add_block32_entries_avx2(table);
  add_published_entries_avx2(table);
  add_block256_entries_avx2(table);
  add_float_entries_avx2(table);
  add_lane_entries_avx2(table);
  add_quantize_entries_avx2(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_avx2() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
