#include "kernels/neon/matmul_entries.h"
#include "kernels/neon/matmul_job.h"
#include "kernels/vectors/published_entries.h"

namespace sampan {

void add_published_entries_i8mm(MatmulTable& table) { add_published_entries(table); }

}  // namespace sampan
