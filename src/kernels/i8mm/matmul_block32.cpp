#include "kernels/neon/matmul_entries.h"
#include "kernels/neon/matmul_job.h"
#include "kernels/vectors/block32_entries.h"

namespace sampan {

void add_block32_entries_i8mm(MatmulTable& table) { add_block32_entries(table); }

}  // namespace sampan
