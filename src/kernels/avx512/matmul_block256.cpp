#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/matmul_job.h"
#include "kernels/vectors/block256_entries.h"

namespace sampan {

void add_block256_entries_avx512(MatmulTable& table) { add_block256_entries(table); }

}  // namespace sampan
