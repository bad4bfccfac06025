#include "kernels/neon/matmul_entries.h"
#include "kernels/neon/vectors.h"
#include "kernels/vectors/float_tiles.h"

namespace sampan {

void add_float_entries_neon(MatmulTable& table) { add_float_entries(table); }

}  // namespace sampan
