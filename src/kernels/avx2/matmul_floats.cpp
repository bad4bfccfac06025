#include "kernels/avx2/matmul_entries.h"
#include "kernels/avx2/vectors.h"
#include "kernels/vectors/float_tiles.h"

namespace sampan {

void add_float_entries_avx2(MatmulTable& table) { add_float_entries(table); }

}  // namespace sampan
