#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/drafter.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/speculation_governor.h"

namespace sampan {

// What the runner's model can draft with; null where it has nothing.
std::unique_ptr<Drafter> make_drafter(Runner& runner);

struct SpeculationOptions {
  std::int64_t depth = 1;         // tokens drafted at a time
  bool always = false;            // drafts even where it does not pay
  std::function<double()> clock;  // seconds; empty: the system's steady clock
};

struct SpeculationStats {
  std::int64_t proposed = 0, accepted = 0;  // drafted tokens
  std::int64_t drafted_steps = 0, plain_steps = 0;

  SpeculationStats operator-(const SpeculationStats& other) const {
    return {proposed - other.proposed, accepted - other.accepted,
            drafted_steps - other.drafted_steps, plain_steps - other.plain_steps};
  }
};

// Writes a text token by token: the very tokens that Sampler and Runner::decode() give one after
// the other, mostly faster. What a drafter proposes is run through the model in one forward, and
// the sampler draws from the model's logits with its key of each step as ever; drafts are kept as
// far as they are what was drawn (Leviathan et al. 2023 accept by probability; a draw that is
// compared needs no other distribution than the model's). Drafts are drawn with the same key from
// the drafter's logits, so that alike distributions give like tokens. Not thread-safe.
class SpeculativeDecoder {
 public:
  // All outlive it. drafter: null for plain decoding. What is done to the sequence from here on
  // goes through the decoder.
  SpeculativeDecoder(Runner& runner, Sequence& sequence, std::unique_ptr<Drafter> drafter,
                     SpeculationOptions options = {});

  // Makes the sequence's text `ids`, of which it has the first `kept` (kept < ids.size()) already.
  // Gives how many were read; a drafter may need one more than the others. Throws as
  // Runner::prefill().
  std::int64_t read(std::span<const std::int32_t> ids, std::int64_t kept);

  // Begins the text that follows what read() read: prompt is what the sampler is told of as such;
  // max_tokens >= 1 that next() will be asked for at most. The sampler and the prompt outlive the
  // text.
  void begin(const Sampler& sampler, std::span<const std::int32_t> prompt, std::int64_t max_tokens);

  // The next token. It may be followed by others in the sequence already.
  std::int32_t next();

  const SpeculationStats& stats() const { return stats_; }
  bool has_drafter() const { return drafter_ != nullptr; }
  bool is_on() const { return has_drafter() && governor_.is_on(); }

 private:
  void step();
  std::vector<std::int32_t> draft(std::int64_t count);
  std::int32_t draw(std::span<const float> logits);

  Runner& runner_;
  Sequence& sequence_;
  std::unique_ptr<Drafter> drafter_;
  SpeculationOptions options_;
  SpeculationGovernor governor_;
  SpeculationStats stats_;
  SamplerScratch scratch_;

  // The present text.
  const Sampler* sampler_ = nullptr;
  std::span<const std::int32_t> prompt_;
  std::int64_t max_tokens_ = 0;
  std::span<const float> first_logits_;  // until the first token is drawn
  std::vector<std::int32_t> drawn_;
  std::size_t given_ = 0;  // of drawn_
};

}  // namespace sampan
