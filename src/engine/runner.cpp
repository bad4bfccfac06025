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

Runner::Runner(const Model& model, ThreadPool& pool, std::int64_t chunk)
    : model_(model), pool_(pool), chunk_(chunk), workspace_(model.make_workspace()) {
  SAMPAN_CHECK(chunk >= 1);
}

void Runner::check_ids(std::span<const std::int32_t> ids) const {
  if (ids.empty()) fail(ErrorCode::kInvalidArgument, "the prompt is empty: at least one token is needed");
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= model_.config().vocab_size) {
      fail(ErrorCode::kInvalidArgument, "token id {} is not in the vocabulary of {}", id, model_.config().vocab_size);
    }
  }
}

void Runner::append(Sequence& sequence, std::span<const std::int32_t> ids, std::int64_t rope_length) {
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
  sequence.cache.set_length(end);
  sequence.ids.insert(sequence.ids.end(), ids.begin(), ids.end());
}

std::span<const float> Runner::run(DType kv_dtype) {
  logits_.resize(static_cast<std::size_t>(batch_.logit_rows() * model_.config().vocab_size));
  model_.forward(batch_, kv_dtype, *workspace_, pool_, logits_.data());
  batch_.tokens.clear();
  return logits_;
}

// Runs a prompt in chunks; `wanted` says which tokens of a chunk give logits.
void Runner::prefill_chunks(Sequence& sequence, std::span<const std::int32_t> ids, std::int64_t chunk, bool all_logits,
                            const LogitsVisitor& visit) {
  check_ids(ids);
  const std::int64_t before = sequence.cache.length();
  const std::int64_t length = before + static_cast<std::int64_t>(ids.size());
  const auto size = static_cast<std::int64_t>(ids.size());
  for (std::int64_t begin = 0; begin < size; begin += chunk) {
    if (interrupted_ && interrupted_()) {
      truncate(sequence, before);
      fail(ErrorCode::kCancelled, "interrupted");
    }
    const std::int64_t count = std::min(chunk, size - begin);
    append(sequence, ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), length);
    for (Batch::Token& token : batch_.tokens) token.wants_logits = all_logits;
    if (begin + count == size) batch_.tokens.back().wants_logits = true;
    const std::span<const float> logits = run(sequence.cache.dtype());
    if (!logits.empty()) visit(begin, logits);
  }
}

std::span<const float> Runner::prefill(Sequence& sequence, std::span<const std::int32_t> ids) {
  std::span<const float> last;
  prefill_chunks(sequence, ids, chunk_, false, [&](std::int64_t, std::span<const float> logits) { last = logits; });
  return last;
}

void Runner::prefill_all_logits(Sequence& sequence, std::span<const std::int32_t> ids, const LogitsVisitor& visit) {
  prefill_chunks(sequence, ids, logit_chunk(model_.config().vocab_size, chunk_), true, visit);
}

std::span<const float> Runner::decode(Sequence& sequence, std::int32_t id) {
  Sequence* const sequences[] = {&sequence};
  const std::int32_t ids[] = {id};
  return decode(sequences, ids);
}

std::span<const float> Runner::decode(std::span<Sequence* const> sequences, std::span<const std::int32_t> ids) {
  SAMPAN_CHECK(sequences.size() == ids.size());
  check_ids(ids);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    SAMPAN_CHECK(sequences[i]->cache.dtype() == sequences[0]->cache.dtype());
    append(*sequences[i], ids.subspan(i, 1), sequences[i]->cache.length() + 1);
  }
  for (Batch::Token& token : batch_.tokens) token.wants_logits = true;
  return run(sequences[0]->cache.dtype());
}

void truncate(Sequence& sequence, std::int64_t length) {
  sequence.cache.truncate(length);
  sequence.ids.resize(static_cast<std::size_t>(length));
}

}  // namespace sampan
