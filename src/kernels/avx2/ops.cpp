#include "kernels/avx2/vectors.h"
#include "kernels/vectors/elementwise.h"

namespace sampan {

const OpsTable& ops_table_avx2() { return kOpsTable; }

}  // namespace sampan
