#include "kernels/avx2/vectors.h"
#include "kernels/vectors/attention_steps.h"

namespace sampan {

const AttentionTable& attention_table_avx2() { return kAttentionTable; }

}  // namespace sampan
