#include "models/blocks/experts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/memory.h"

namespace sampan {
namespace {

Expert load_expert(const Checkpoint& checkpoint, std::int64_t layer, std::int64_t index, ThreadPool& pool,
                   const WeightAllocator& allocate) {
  const std::string prefix = mlp_prefix(layer);
  Expert expert;
  expert.gate = checkpoint.expert_matrix(prefix, index, ExpertPart::kGate, pool, allocate);
  expert.up = checkpoint.expert_matrix(prefix, index, ExpertPart::kUp, pool, allocate);
  expert.down = checkpoint.expert_matrix(prefix, index, ExpertPart::kDown, pool, allocate);
  return expert;
}

std::vector<Expert> load_experts(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool) {
  std::vector<WeightMatrix> matrices = checkpoint.expert_matrices(mlp_prefix(layer), pool);
  std::vector<Expert> experts;
  for (std::size_t i = 0; i < matrices.size(); i += 3) {
    experts.push_back({std::move(matrices[i]), std::move(matrices[i + 1]), std::move(matrices[i + 2])});
  }
  return experts;
}

constexpr double kClearlyMore = 1.25;

std::int64_t padded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

std::string mlp_prefix(std::int64_t layer) { return fmt::format("model.layers.{}.mlp.", layer); }

ResidentExperts::ResidentExperts(const Checkpoint& checkpoint, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  std::int64_t bytes = 0, count = 0;
  layers_.resize(static_cast<std::size_t>(c.cache_layers()));
  for (std::int64_t layer = 0; layer < c.cache_layers(); ++layer) {
    if (!c.is_sparse(layer)) continue;
    std::vector<Expert>& experts = layers_[static_cast<std::size_t>(layer)];
    experts = load_experts(checkpoint, layer, pool);
    for (const Expert& expert : experts) bytes += expert.bytes();
    count += c.moe->experts;
  }
  bytes_per_expert_ = count > 0 ? bytes / count : 0;
}

void ResidentExperts::acquire(std::int64_t layer, std::span<const ExpertUse> uses, std::vector<const Expert*>& experts, ThreadPool&) {
  experts.clear();
  for (const ExpertUse& use : uses) {
    experts.push_back(&layers_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(use.expert)]);
  }
}

CachedExperts::CachedExperts(const Checkpoint& checkpoint, std::int64_t budget_bytes)
    : checkpoint_(checkpoint), experts_(checkpoint.config().moe->experts) {
  const ModelConfig& c = checkpoint.config();
  std::int64_t sparse_layers = 0;
  for (std::int64_t layer = 0; layer < c.cache_layers(); ++layer) {
    if (!c.is_sparse(layer)) continue;
    ++sparse_layers;
    slot_bytes_ = std::max(slot_bytes_, checkpoint.packed_expert_bytes(mlp_prefix(layer)));
  }
  SAMPAN_CHECK(slot_bytes_ > 0);
  const std::int64_t slots = std::clamp<std::int64_t>(budget_bytes / slot_bytes_, 1, sparse_layers * experts_);
  slots_.resize(static_cast<std::size_t>(slots));
  slot_of_.assign(static_cast<std::size_t>(c.cache_layers() * experts_), -1);
  uses_.resize(slot_of_.size());
  statistics_.slots = slots;
}

std::int64_t CachedExperts::index_of(std::int64_t layer, std::int32_t expert) const { return layer * experts_ + expert; }

double CachedExperts::fading_use(std::int64_t index) const {
  const Use& use = uses_[static_cast<std::size_t>(index)];
  return use.count * std::exp2(-static_cast<double>(clock_ - use.at) / kHalfLife);
}

// Where an expert goes that is not in memory. One that is used clearly more than the least used one takes its place for good; any
// other only passes: it takes the place of one that did so before. Passing through all experts in turn thus leaves most of what is
// there, where the rule "the least used goes" would throw out just what comes next.
CachedExperts::Slot& CachedExperts::place_for(std::int64_t index) {
  Slot* least = nullptr;
  Slot* passing = nullptr;
  for (Slot& slot : slots_) {
    if (slot.pins > 0) continue;
    if (slot.owner < 0) return slot;
    if (least == nullptr || fading_use(slot.owner) < fading_use(least->owner)) least = &slot;
    if (slot.passes && (passing == nullptr || slot.loaded_at > passing->loaded_at)) passing = &slot;
  }
  SAMPAN_CHECK(least != nullptr);  // callers acquire capacity() at most
  const bool stays = fading_use(index) > kClearlyMore * fading_use(least->owner) + 1;
  Slot& place = stays || passing == nullptr ? *least : *passing;
  place.passes = !stays;
  return place;
}

void CachedExperts::load(std::int64_t layer, std::int32_t expert, Slot& slot, ThreadPool& pool) {
  if (slot.owner >= 0) slot_of_[static_cast<std::size_t>(slot.owner)] = -1;
  slot.owner = -1;
  slot.expert = {};
  if (!slot.memory) slot.memory = allocate_weights(static_cast<std::size_t>(slot_bytes_));
  std::int64_t used = 0;
  const WeightAllocator from_slot = [&](std::size_t bytes) {
    const std::int64_t offset = used;
    // A quantised form may turn out to need wider panels than its layer's first expert did.
    if (slot_bytes_ - offset < static_cast<std::int64_t>(bytes)) return allocate_weights(bytes);
    used += padded(static_cast<std::int64_t>(bytes));
    return std::shared_ptr<std::byte>(slot.memory, slot.memory.get() + offset);
  };
  slot.expert = load_expert(checkpoint_, layer, expert, pool, from_slot);
  for (const auto bytes : checkpoint_.expert_bytes(mlp_prefix(layer), expert)) release_mapped(bytes);
  slot.owner = index_of(layer, expert);
  slot.loaded_at = ++statistics_.loaded;
  slot_of_[static_cast<std::size_t>(slot.owner)] = static_cast<std::int32_t>(&slot - slots_.data());
}

void CachedExperts::acquire(std::int64_t layer, std::span<const ExpertUse> uses, std::vector<const Expert*>& experts, ThreadPool& pool) {
  const std::lock_guard<std::mutex> lock(mutex_);
  SAMPAN_CHECK(static_cast<std::int64_t>(uses.size()) <= capacity());
  ++clock_;
  std::vector<std::int32_t> missing;
  for (const ExpertUse& use : uses) {
    const std::int64_t index = index_of(layer, use.expert);
    uses_[static_cast<std::size_t>(index)] = {fading_use(index) + static_cast<double>(use.tokens), clock_};
    const std::int32_t slot = slot_of_[static_cast<std::size_t>(index)];
    if (slot < 0) {
      missing.push_back(use.expert);
    } else {
      ++slots_[static_cast<std::size_t>(slot)].pins;  // before any victim is looked for
      ++statistics_.found;
    }
  }
  for (const std::int32_t expert : missing) {
    for (const auto bytes : checkpoint_.expert_bytes(mlp_prefix(layer), expert)) read_ahead(bytes);
  }
  try {
    for (const std::int32_t expert : missing) {
      Slot& slot = place_for(index_of(layer, expert));
      load(layer, expert, slot, pool);
      ++slot.pins;
    }
  } catch (...) {
    unpin(layer, uses);  // those that are not there are in no slot
    throw;
  }
  experts.clear();
  for (const ExpertUse& use : uses) {
    const std::int32_t slot = slot_of_[static_cast<std::size_t>(index_of(layer, use.expert))];
    experts.push_back(&slots_[static_cast<std::size_t>(slot)].expert);
  }
}

void CachedExperts::unpin(std::int64_t layer, std::span<const ExpertUse> uses) {
  for (const ExpertUse& use : uses) {
    const std::int32_t slot = slot_of_[static_cast<std::size_t>(index_of(layer, use.expert))];
    if (slot >= 0) --slots_[static_cast<std::size_t>(slot)].pins;
  }
}

void CachedExperts::release(std::int64_t layer, std::span<const ExpertUse> uses) {
  const std::lock_guard<std::mutex> lock(mutex_);
  unpin(layer, uses);
}

void CachedExperts::hint(std::int64_t layer, std::span<const std::int32_t> experts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::int32_t expert : experts) {
    if (slot_of_[static_cast<std::size_t>(index_of(layer, expert))] >= 0) continue;
    for (const auto bytes : checkpoint_.expert_bytes(mlp_prefix(layer), expert)) read_ahead(bytes);
  }
}

CachedExperts::Statistics CachedExperts::statistics() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return statistics_;
}

std::int64_t packed_experts_bytes(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  std::int64_t bytes = 0;
  for (std::int64_t layer = 0; c.moe && layer < c.cache_layers(); ++layer) {
    if (c.is_sparse(layer)) bytes += c.moe->experts * checkpoint.packed_expert_bytes(mlp_prefix(layer));
  }
  return bytes;
}

std::unique_ptr<ExpertStore> make_expert_store(const Checkpoint& checkpoint, std::int64_t budget_bytes, ThreadPool& pool) {
  if (packed_experts_bytes(checkpoint) <= budget_bytes) return std::make_unique<ResidentExperts>(checkpoint, pool);
  return std::make_unique<CachedExperts>(checkpoint, budget_bytes);
}

}  // namespace sampan
