#include "kernels/neon/vectors.h"
#include "kernels/vectors/attention_steps.h"

namespace sampan {

const AttentionTable& attention_table_neon() { return kAttentionTable; }

}  // namespace sampan
