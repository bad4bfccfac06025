#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/runner.h"

namespace sampan {

// Chooses a draft's next token from logits, the tokens drafted so far given. Nothing where no logit
// is a number.
using DraftChoice = std::function<std::optional<std::int32_t>(
    std::span<const float> logits, std::span<const std::int32_t> drafted)>;

// Proposes how a text goes on. A proposal may be anything: where it is wrong it costs time, and the
// text is the same. One for one sequence.
class Drafter {
 public:
  virtual ~Drafter() = default;

  // Whether observe() is to be given hidden states.
  virtual bool wants_hidden() const = 0;

  // The sequence's tokens from position `first` on have been read, with these hidden states
  // (tokens, hidden) where they are wanted; what was told of later positions is void. The token at
  // `first` is the one that the last propose() named as next, or known from before. Leaves the
  // sequence's ids and length as they are.
  virtual void observe(Sequence& sequence, std::int64_t first, std::span<const float> hidden) = 0;

  // Tokens that may follow the sequence's ids and `next`: `count` of them at most, none at least.
  // Leaves the sequence's ids and length as they are.
  virtual void propose(Sequence& sequence, std::int32_t next, std::int64_t count,
                       const DraftChoice& choose, std::vector<std::int32_t>& drafted) = 0;
};

}  // namespace sampan
