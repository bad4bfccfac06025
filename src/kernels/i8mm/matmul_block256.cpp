#include "kernels/neon/matmul_entries.h"
#include "kernels/neon/matmul_job.h"
#include "kernels/vectors/block256_entries.h"

namespace sampan {

void add_block256_entries_i8mm(MatmulTable& table) { add_block256_entries(table); }

}  // namespace sampan
