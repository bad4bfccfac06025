#include "kernels/avx512/matmul_entries.h"

namespace sampan {
namespace {

MatmulTable make_table() {
  MatmulTable table = {};
  table.name = "avx512";
  table.strip_panels = 2;
  add_block32_entries_avx512(table);
  add_published_entries_avx512(table);
  add_block256_entries_avx512(table);
  add_float_entries_avx512(table);
  add_quantize_entries_avx512(table);
  return table;
}

}  // namespace

const MatmulTable& matmul_table_avx512() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
