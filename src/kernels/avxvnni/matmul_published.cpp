#include "kernels/avx2/matmul_entries.h"
#include "kernels/avx2/matmul_job.h"
#include "kernels/vectors/published_entries.h"

namespace sampan {

void add_published_entries_avxvnni(MatmulTable& table) { add_published_entries(table); }

}  // namespace sampan
