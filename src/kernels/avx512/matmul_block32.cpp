#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/matmul_job.h"
#include "kernels/vectors/block32_entries.h"

namespace sampan {

void add_block32_entries_avx512(MatmulTable& table) { add_block32_entries(table); }

}  // namespace sampan
