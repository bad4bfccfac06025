#pragma once

#include <string>
#include <vector>

#include "models/blocks/layer.h"
#include "models/checkpoint.h"

namespace sampan {

// Multi-token prediction (DeepSeek-AI 2024, "DeepSeek-V3", section 2.2): a layer behind the trunk's
// last that foretells the token after the next one. At position t, with the trunk's hidden state
// h_t and the next token x_{t+1} known:
//   z = eh_proj [enorm(embed(x_{t+1})) | hnorm(h_t)];  logits for x_{t+2} = head(norm(layer(z)))
// h_t is what the trunk's head sees, after the trunk's last norm: so transformers, vLLM and SGLang
// run V3's weights. norm(layer(z)) in place of h_{t+1} foretells one token further, and so on.
struct MtpModule {
  TensorView embedding;      // (vocab, hidden), in the file
  std::vector<float> enorm;  // (hidden)
  std::vector<float> hnorm;  // (hidden)
  WeightMatrix eh_proj;      // (hidden, 2 * hidden)
  DecoderLayer layer;
  std::vector<float> norm;  // (hidden)
  WeightMatrix head;        // (vocab, hidden)
};

// The tables of the trunk, which the module shares in files that leave its own out or repeat them.
struct TrunkTables {
  TensorView embedding;
  std::string head_name;
  const WeightMatrix& head;
};
MtpModule load_mtp(const Checkpoint& checkpoint, const TrunkTables& trunk, ThreadPool& pool);

// z (tokens, hidden) of hidden and embedded, both (tokens, hidden); scratch is resized.
void mtp_input(const MtpModule& module, float eps, const float* hidden, const float* embedded,
               std::int64_t tokens, std::vector<float>& scratch, Activations& activations, float* z,
               ThreadPool& pool);

}  // namespace sampan
