#include "kernels/avx2/matmul_entries.h"
#include "kernels/avx2/matmul_job.h"
#include "kernels/vectors/block256_entries.h"

namespace sampan {

void add_block256_entries_avxvnni(MatmulTable& table) { add_block256_entries(table); }

}  // namespace sampan
