#include "kernels/avx512/vectors.h"
#include "kernels/vectors/attention_steps.h"

namespace sampan {

const AttentionTable& attention_table_avx512() { return kAttentionTable; }

}  // namespace sampan
