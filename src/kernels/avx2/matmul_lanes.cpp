#include "kernels/avx2/matmul_entries.h"
#include "kernels/avx2/vectors.h"
#include "kernels/vectors/float_lanes.h"

namespace sampan {

void add_lane_entries_avx2(MatmulTable& table) { add_lane_entries(table); }

}  // namespace sampan
