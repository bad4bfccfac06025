#include "kernels/avx2/block32_entries.h"
#include "kernels/avx2/matmul_entries.h"

namespace sampan {

void add_block32_entries_avx2(MatmulTable& table) { add_block32_entries(table); }

}  // namespace sampan
