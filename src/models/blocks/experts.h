#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "models/checkpoint.h"

namespace sampan {

// One expert of a mixture: SwiGLU without biases.
struct Expert {
  WeightMatrix gate;  // (intermediate, hidden)
  WeightMatrix up;    // (intermediate, hidden)
  WeightMatrix down;  // (hidden, intermediate)

  std::int64_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

// An expert that a batch needs, and how many of its tokens.
struct ExpertUse {
  std::int32_t expert = 0;
  std::int64_t tokens = 0;
};

// Where the experts of all layers are. Thread-safe.
class ExpertStore {
 public:
  virtual ~ExpertStore() = default;
  ExpertStore() = default;
  ExpertStore(const ExpertStore&) = delete;
  ExpertStore& operator=(const ExpertStore&) = delete;

  // Experts that acquire() can give at a time.
  virtual std::int64_t capacity() const = 0;
  // Brings experts of a layer into memory, experts[i] for uses[i]; they stay until release() of the same. Throws Error when a file
  // turns out to be broken; nothing is held then.
  virtual void acquire(std::int64_t layer, std::span<const ExpertUse> uses, std::vector<const Expert*>& experts, ThreadPool& pool) = 0;
  virtual void release(std::int64_t layer, std::span<const ExpertUse> uses) = 0;
  // Experts that are likely to be needed soon; wants_hints() is false where telling them is of no use.
  virtual bool wants_hints() const = 0;
  virtual void hint(std::int64_t layer, std::span<const std::int32_t> experts) = 0;
  // Bytes of an expert in memory: the average, or what is set aside for each.
  virtual std::int64_t bytes_per_expert() const = 0;
};

// Experts of a layer, held from acquire() to release().
class ExpertLease {
 public:
  ExpertLease(ExpertStore& store, std::int64_t layer, std::span<const ExpertUse> uses, ThreadPool& pool)
      : store_(store), layer_(layer), uses_(uses) {
    store_.acquire(layer_, uses_, experts_, pool);
  }
  ~ExpertLease() { store_.release(layer_, uses_); }
  ExpertLease(const ExpertLease&) = delete;
  ExpertLease& operator=(const ExpertLease&) = delete;

  const Expert& operator[](std::size_t i) const { return *experts_[i]; }  // of uses[i]

 private:
  ExpertStore& store_;
  std::int64_t layer_;
  std::span<const ExpertUse> uses_;
  std::vector<const Expert*> experts_;
};

// All experts in memory.
class ResidentExperts : public ExpertStore {
 public:
  ResidentExperts(const Checkpoint& checkpoint, ThreadPool& pool);

  std::int64_t capacity() const override { return INT64_MAX; }
  void acquire(std::int64_t layer, std::span<const ExpertUse> uses, std::vector<const Expert*>& experts, ThreadPool& pool) override;
  void release(std::int64_t, std::span<const ExpertUse>) override {}
  bool wants_hints() const override { return false; }
  void hint(std::int64_t, std::span<const std::int32_t>) override {}
  std::int64_t bytes_per_expert() const override { return bytes_per_expert_; }

 private:
  std::vector<std::vector<Expert>> layers_;  // (layers, experts); empty where a layer is dense
  std::int64_t bytes_per_expert_ = 0;
};

// Experts of block types stay in the mapped file; as many as fit into a budget are kept packed in memory, those that are used most.
// Use fades with a half-life of kHalfLife acquisitions.
class CachedExperts : public ExpertStore {
 public:
  static constexpr double kHalfLife = 1 << 14;

  // The checkpoint must outlive it. budget_bytes below the size of one expert still keeps one.
  CachedExperts(const Checkpoint& checkpoint, std::int64_t budget_bytes);

  std::int64_t capacity() const override { return static_cast<std::int64_t>(slots_.size()); }
  void acquire(std::int64_t layer, std::span<const ExpertUse> uses, std::vector<const Expert*>& experts, ThreadPool& pool) override;
  void release(std::int64_t layer, std::span<const ExpertUse> uses) override;
  bool wants_hints() const override { return true; }
  void hint(std::int64_t layer, std::span<const std::int32_t> experts) override;
  std::int64_t bytes_per_expert() const override { return slot_bytes_; }

  struct Statistics {
    std::int64_t slots = 0;
    std::int64_t found = 0;   // acquisitions of experts that were in memory
    std::int64_t loaded = 0;  // … that had to be packed
  };
  Statistics statistics() const;

 private:
  struct Slot {
    std::shared_ptr<std::byte> memory;
    Expert expert;
    std::int64_t owner = -1;  // layer * experts + expert
    std::int64_t pins = 0;
    std::uint64_t loaded_at = 0;
    bool passes = false;  // gives way to the next that is not used more
  };
  struct Use {
    double count = 0;  // as of `at`
    std::uint64_t at = 0;
  };

  std::int64_t index_of(std::int64_t layer, std::int32_t expert) const;
  void unpin(std::int64_t layer, std::span<const ExpertUse> uses);
  double fading_use(std::int64_t index) const;
  Slot& place_for(std::int64_t index);
  void load(std::int64_t layer, std::int32_t expert, Slot& slot, ThreadPool& pool);

  const Checkpoint& checkpoint_;
  std::int64_t experts_;  // a layer
  std::int64_t slot_bytes_ = 0;
  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> slot_of_;  // (layers * experts) or -1
  std::vector<Use> uses_;              // (layers * experts)
  std::uint64_t clock_ = 0;
  Statistics statistics_;
};

// All in memory where budget_bytes hold them (or where the file itself serves: float types), else cached.
std::unique_ptr<ExpertStore> make_expert_store(const Checkpoint& checkpoint, std::int64_t budget_bytes, ThreadPool& pool);

// Bytes of memory that all experts own once they are repacked.
std::int64_t packed_experts_bytes(const Checkpoint& checkpoint);

// "model.layers.3.mlp."
std::string mlp_prefix(std::int64_t layer);

}  // namespace sampan
