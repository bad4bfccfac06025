#include "kernels/neon/matmul_entries.h"

namespace sampan {
namespace {

// All but the products of panels is NEON's.
MatmulTable make_table() {
  MatmulTable table = matmul_table_neon();
  table.name = "i8mm";
  add_block32_entries_i8mm(table);
  add_published_entries_i8mm(table);
  add_block256_entries_i8mm(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_i8mm() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
