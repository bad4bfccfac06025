#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/task.h"

namespace sampan {

// Decides what each step computes: every running text's next token, and of prompts as much as the
// step's budget allows. Waiting requests are admitted by priority, then by how little their tenant
// was served, then by age, when the cache has room for their prompt. When it runs out, the least
// important and youngest text gives up its blocks and is read again later: nothing of it is lost.
// Holds no threads and no clock: what it plans follows from what it was told. Not thread-safe.
class Scheduler {
 public:
  struct Limits {
    std::int64_t max_running = 128;
    std::int64_t max_logit_rows = 64;  // of prompts whose tokens' probabilities are wanted, a step
    bool use_prefixes = true;
    std::int64_t prefix_length_limit = 0;  // texts whose prompt is longer share nothing; 0: none
  };
  // The next `count` pending ids of a task, in this step.
  struct Share {
    Task* task = nullptr;
    std::int64_t count = 0;
  };

  Scheduler(KvPool& pool, const Limits& limits);

  void add(std::unique_ptr<Task> task);
  // Takes a task out, wherever it is; nothing if there is none of that number.
  std::unique_ptr<Task> remove(std::uint64_t id);
  // Takes out a waiting task whose deadline has passed; nothing if there is none.
  std::unique_ptr<Task> remove_expired(Task::Clock::time_point now);
  std::vector<std::unique_ptr<Task>> remove_all();
  // The number of the task that is admitted next; only when some are waiting.
  std::uint64_t first_waiting() { return (*next_waiting({}))->id; }

  // The shares of the next step, decoding texts first. prompt_budget: tokens of prompts while
  // others decode; lone_prompt_budget: where nobody does; both at least 1. Blocks for the shares
  // are reserved. Empty when there is nothing to do.
  std::vector<Share> plan(std::int64_t prompt_budget, std::int64_t lone_prompt_budget);
  // A share was computed: its ids are in the cache. Full blocks become known to the prefix cache.
  void computed(const Share& share);

  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t prefix_queries() const { return prefix_queries_; }
  std::int64_t prefix_hits() const { return prefix_hits_; }
  std::int64_t cached_blocks() const { return prefixes_.size(); }
  std::int64_t blocks_in_use() const { return pool_.used_blocks() - prefixes_.idle_blocks(); }

 private:
  using Tasks = std::vector<std::unique_ptr<Task>>;

  void plan_decodes(std::vector<Share>& shares);
  void plan_prompts(std::int64_t budget, std::vector<Share>& shares);
  bool reserve(Task& task, std::int64_t length, const std::vector<Share>& shares);
  Task* victim(const std::vector<Share>& shares) const;
  void preempt(Task& task);
  void admit();
  bool is_admissible(const Task& task, const std::vector<PrefixCache::Entry>& matched) const;
  bool waits_for_prefix(const Task& task, std::int64_t matched) const;
  std::vector<PrefixCache::Entry> match(const Task& task) const;
  Tasks::iterator next_waiting(const std::vector<std::uint64_t>& passed);

  KvPool& pool_;
  Limits limits_;
  PrefixCache prefixes_;
  Tasks running_, waiting_;
  std::map<std::string, std::int64_t>
      served_;  // tokens computed a tenant with work, comparable with each other
  std::int64_t preemptions_ = 0, prefix_queries_ = 0, prefix_hits_ = 0;
};

}  // namespace sampan
