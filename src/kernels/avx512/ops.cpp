#include "kernels/avx512/vectors.h"
#include "kernels/vectors/elementwise.h"

namespace sampan {

const OpsTable& ops_table_avx512() { return kOpsTable; }

}  // namespace sampan
