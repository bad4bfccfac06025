#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/vectors.h"
#include "kernels/vectors/float_lanes.h"

namespace sampan {

void add_lane_entries_avx512(MatmulTable& table) { add_lane_entries(table); }

}  // namespace sampan
