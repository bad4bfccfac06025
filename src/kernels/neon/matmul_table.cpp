#include "kernels/neon/matmul_entries.h"

namespace sampan {
namespace {

MatmulTable make_table() {
  MatmulTable table = {};
  table.name = "neon";
  table.strip_panels = 1;
  add_block32_entries_neon(table);
  add_published_entries_neon(table);
  add_block256_entries_neon(table);
  add_float_entries_neon(table);
  add_quantize_entries_neon(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_neon() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
