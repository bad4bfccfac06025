#pragma once

#include <cstdint>
#include <vector>

#include "engine/drafter.h"

namespace sampan {

// Drafts by the model's layer of multi-token prediction (models/mtp.h); further tokens by the same
// layer from its own output. The layer's keys and values lie in the sequence's cache. Hidden states
// wait for a draft, or until a forward of theirs is full: the fewer the forwards, the cheaper.
class MtpDrafter : public Drafter {
 public:
  explicit MtpDrafter(Runner& runner);  // of a model that predicts_tokens()

  bool wants_hidden() const override { return true; }
  void observe(Sequence& sequence, std::int64_t first, std::span<const float> hidden) override;
  void propose(Sequence& sequence, std::int32_t next, std::int64_t count, const DraftChoice& choose,
               std::vector<std::int32_t>& drafted) override;

  // Positions whose hidden states wait.
  std::int64_t waiting() const { return static_cast<std::int64_t>(hidden_.size() / width_); }

 private:
  Runner::Rows run(Sequence& sequence, std::span<const std::int32_t> following, bool wants_last);

  Runner& runner_;
  std::size_t width_;
  std::int64_t filled_ = 0;    // positions whose keys and values the layer's cache has
  std::vector<float> hidden_;  // (waiting, hidden) of the positions from filled_ on
};

}  // namespace sampan
