#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/matmul_job.h"
#include "kernels/vectors/published_entries.h"

namespace sampan {

void add_published_entries_avx512(MatmulTable& table) { add_published_entries(table); }

}  // namespace sampan
