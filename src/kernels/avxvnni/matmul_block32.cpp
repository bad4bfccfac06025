#include "kernels/avx2/matmul_entries.h"
#include "kernels/avx2/matmul_job.h"
#include "kernels/vectors/block32_entries.h"

namespace sampan {

void add_block32_entries_avxvnni(MatmulTable& table) { add_block32_entries(table); }

}  // namespace sampan
