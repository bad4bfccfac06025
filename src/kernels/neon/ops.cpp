#include "kernels/neon/vectors.h"
#include "kernels/vectors/elementwise.h"

namespace sampan {

const OpsTable& ops_table_neon() { return kOpsTable; }

}  // namespace sampan
