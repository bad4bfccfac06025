#include "engine/runner.h"

#include <algorithm>

#include "base/error.h"

namespace sampan {
namespace {

// Rows of logits that are kept at a time when all are wanted: 64 MiB at most, one row at least.
std::int64_t logit_chunk(std::int64_t vocab_size, std::int64_t chunk) {
  return std::clamp<std::int64_t>((16 << 20) / vocab_size, 1, chunk);
}

}  // namespace

// What a call appends to its sequences: taken back, with the batch, unless all of it was computed.
class Runner::Appended {
 public:
  Appended(Runner& runner, std::span<Sequence* const> sequences) : runner_(runner) {
    lengths_.reserve(sequences.size());
    for (Sequence* const sequence : sequences)
      lengths_.emplace_back(sequence, sequence->cache.length());
  }
  ~Appended() {
    if (is_kept_) return;
    runner_.batch_.tokens.clear();
    for (const auto& [sequence, length] : lengths_) truncate(*sequence, length);
  }
  Appended(const Appended&) = delete;
  Appended& operator=(const Appended&) = delete;

  void keep() { is_kept_ = true; }

 private:
  Runner& runner_;
  std::vector<std::pair<Sequence*, std::int64_t>> lengths_;
  bool is_kept_ = false;
};

Runner::Runner(const Model& model, ThreadPool& pool, std::int64_t chunk)
    : model_(model), pool_(pool), chunk_(chunk), workspace_(model.make_workspace()) {
  SAMPAN_CHECK(chunk >= 1);
}

void Runner::check_ids(std::span<const std::int32_t> ids) const {
  if (ids.empty())
    fail(ErrorCode::kInvalidArgument, "the prompt is empty: at least one token is needed");
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= model_.config().vocab_size) {
      fail(ErrorCode::kInvalidArgument, "token id {} is not in the vocabulary of {}", id,
           model_.config().vocab_size);
    }
  }
}

void Runner::append(Sequence& sequence, std::span<const std::int32_t> ids,
                    std::int64_t rope_length) {
  const std::int64_t first = sequence.cache.length();
  const std::int64_t end = first + static_cast<std::int64_t>(ids.size());
  sequence.cache.reserve(end);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Batch::Token token;
    token.id = ids[i];
    token.position = static_cast<std::int32_t>(first + static_cast<std::int64_t>(i));
    token.rope_length = static_cast<std::int32_t>(rope_length);
    token.sequence = &sequence.cache.pages();
    batch_.tokens.push_back(token);
  }
  sequence.ids.insert(sequence.ids.end(), ids.begin(), ids.end());
  sequence.cache.set_length(end);
}

std::span<const float> Runner::run(DType kv_dtype) {
  logits_.resize(static_cast<std::size_t>(batch_.logit_rows() * model_.config().vocab_size));
  hidden_.resize(static_cast<std::size_t>(batch_.hidden_rows() * model_.config().hidden_size));
  model_.forward(batch_, kv_dtype, *workspace_, pool_, {logits_.data(), hidden_.data()});
  batch_.tokens.clear();
  return logits_;
}

// Runs a prompt in chunks.
void Runner::prefill_chunks(Sequence& sequence, std::span<const std::int32_t> ids,
                            std::int64_t chunk, bool all_logits, const LogitsVisitor& visit,
                            const HiddenVisitor& visit_hidden) {
  check_ids(ids);
  Sequence* const sequences[] = {&sequence};
  Appended appended(*this, sequences);
  const std::int64_t before = sequence.cache.length();
  const std::int64_t length = before + static_cast<std::int64_t>(ids.size());
  const auto size = static_cast<std::int64_t>(ids.size());
  for (std::int64_t begin = 0; begin < size; begin += chunk) {
    if (interrupted_ && interrupted_()) fail(ErrorCode::kCancelled, "interrupted");
    const std::int64_t count = std::min(chunk, size - begin);
    append(sequence, ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
           length);
    for (Batch::Token& token : batch_.tokens) {
      token.wants_logits = all_logits;
      token.wants_hidden = visit_hidden != nullptr;
    }
    if (begin + count == size) batch_.tokens.back().wants_logits = true;
    const std::span<const float> logits = run(sequence.cache.dtype());
    if (!logits.empty()) visit(begin, logits);
    if (visit_hidden) visit_hidden(before + begin, hidden_);
  }
  appended.keep();
}

std::span<const float> Runner::prefill(Sequence& sequence, std::span<const std::int32_t> ids,
                                       const HiddenVisitor& visit_hidden) {
  std::span<const float> last;
  prefill_chunks(
      sequence, ids, chunk_, false,
      [&](std::int64_t, std::span<const float> logits) { last = logits; }, visit_hidden);
  return last;
}

void Runner::prefill_all_logits(Sequence& sequence, std::span<const std::int32_t> ids,
                                const LogitsVisitor& visit) {
  prefill_chunks(sequence, ids, logit_chunk(model_.config().vocab_size, chunk_), true, visit, {});
}

std::span<const float> Runner::decode(Sequence& sequence, std::int32_t id) {
  Sequence* const sequences[] = {&sequence};
  const std::int32_t ids[] = {id};
  return decode(sequences, ids);
}

std::span<const float> Runner::decode(std::span<Sequence* const> sequences,
                                      std::span<const std::int32_t> ids) {
  SAMPAN_CHECK(sequences.size() == ids.size());
  check_ids(ids);
  Appended appended(*this, sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    SAMPAN_CHECK(sequences[i]->cache.dtype() == sequences[0]->cache.dtype());
    append(*sequences[i], ids.subspan(i, 1), sequences[i]->cache.length() + 1);
  }
  for (Batch::Token& token : batch_.tokens) token.wants_logits = true;
  const std::span<const float> logits = run(sequences[0]->cache.dtype());
  appended.keep();
  return logits;
}

Runner::Rows Runner::decode_run(Sequence& sequence, std::span<const std::int32_t> ids,
                                bool with_hidden) {
  check_ids(ids);
  Sequence* const sequences[] = {&sequence};
  Appended appended(*this, sequences);
  for (std::size_t i = 0; i < ids.size(); ++i)
    append(sequence, ids.subspan(i, 1), sequence.cache.length() + 1);
  for (Batch::Token& token : batch_.tokens) {
    token.wants_logits = true;
    token.wants_hidden = with_hidden;
  }
  const std::span<const float> logits = run(sequence.cache.dtype());
  appended.keep();
  return {logits, hidden_};
}

Runner::Rows Runner::predict(Sequence& sequence, std::int64_t first,
                             std::span<const std::int32_t> following, std::span<const float> hidden,
                             bool wants_last) {
  const ModelConfig& c = model_.config();
  check_ids(following);
  SAMPAN_CHECK(hidden.size() == following.size() * static_cast<std::size_t>(c.hidden_size));
  sequence.cache.reserve(first + static_cast<std::int64_t>(following.size()));
  Batch batch;
  for (std::size_t i = 0; i < following.size(); ++i) {
    Batch::Token token;
    token.id = following[i];
    token.position = static_cast<std::int32_t>(first + static_cast<std::int64_t>(i));
    token.rope_length = token.position + 1;
    token.sequence = &sequence.cache.pages();
    batch.tokens.push_back(token);
  }
  batch.tokens.back().wants_logits = batch.tokens.back().wants_hidden = wants_last;
  predicted_logits_.resize(static_cast<std::size_t>(batch.logit_rows() * c.vocab_size));
  predicted_hidden_.resize(static_cast<std::size_t>(batch.hidden_rows() * c.hidden_size));
  model_.forward_mtp(batch, hidden.data(), sequence.cache.dtype(), *workspace_, pool_,
                     {predicted_logits_.data(), predicted_hidden_.data()});
  return {predicted_logits_, predicted_hidden_};
}

void truncate(Sequence& sequence, std::int64_t length) {
  sequence.cache.truncate(length);
  sequence.ids.resize(static_cast<std::size_t>(length));
}

}  // namespace sampan
