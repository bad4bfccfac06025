#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/vectors.h"
#include "kernels/vectors/float_tiles.h"

namespace sampan {

void add_float_entries_avx512(MatmulTable& table) { add_float_entries(table); }

}  // namespace sampan
