#include "kernels/avx2/matmul_entries.h"

namespace sampan {
namespace {

// All but the products of panels is AVX2's.
MatmulTable make_table() {
  MatmulTable table = matmul_table_avx2();
  table.name = "avxvnni";
  add_block32_entries_avxvnni(table);
  add_published_entries_avxvnni(table);
  add_block256_entries_avxvnni(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_avxvnni() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
