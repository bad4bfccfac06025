#include "engine/scheduler.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"

namespace sampan {
namespace {

using Tasks = std::vector<std::unique_ptr<Task>>;

std::tuple<int, std::uint64_t> importance(const Task& task) {
  return {task.request.priority, task.id};
}

std::unique_ptr<Task> take(Tasks& tasks, Tasks::iterator place) {
  std::unique_ptr<Task> task = std::move(*place);
  tasks.erase(place);
  return task;
}

bool contains(const std::vector<Scheduler::Share>& shares, const Task* task) {
  return std::any_of(shares.begin(), shares.end(),
                     [&](const Scheduler::Share& share) { return share.task == task; });
}

std::span<const std::int32_t> block_of(const Task& task, std::size_t index) {
  constexpr auto kSize = static_cast<std::size_t>(kKvPagePositions);
  return std::span(task.ids).subspan(index * kSize, kSize);
}

}  // namespace

Scheduler::Scheduler(KvPool& pool, const Limits& limits)
    : pool_(pool), limits_(limits), prefixes_(pool) {}

void Scheduler::add(std::unique_ptr<Task> task) {
  const std::string& tenant = task->request.tenant;
  if (!served_.contains(tenant)) {
    std::int64_t least = served_.empty() ? 0 : served_.begin()->second;
    for (const auto& [other, tokens] : served_) least = std::min(least, tokens);
    served_[tenant] = least;
  }
  const bool is_short =
      limits_.prefix_length_limit == 0 || task->prompt_length() <= limits_.prefix_length_limit;
  task->uses_prefixes = limits_.use_prefixes && is_short;
  if (task->uses_prefixes) task->root = prefixes_.root(tenant);
  waiting_.push_back(std::move(task));
}

std::unique_ptr<Task> Scheduler::remove(std::uint64_t id) {
  for (Tasks* tasks : {&running_, &waiting_}) {
    const auto place = std::find_if(tasks->begin(), tasks->end(),
                                    [&](const auto& task) { return task->id == id; });
    if (place == tasks->end()) continue;
    std::unique_ptr<Task> task = take(*tasks, place);
    prefixes_.touch(task->path);
    const auto same_tenant = [&](const auto& other) {
      return other->request.tenant == task->request.tenant;
    };
    if (std::none_of(running_.begin(), running_.end(), same_tenant) &&
        std::none_of(waiting_.begin(), waiting_.end(), same_tenant)) {
      served_.erase(task->request.tenant);
    }
    return task;
  }
  return nullptr;
}

std::unique_ptr<Task> Scheduler::remove_expired(Task::Clock::time_point now) {
  for (const Tasks* tasks : {&running_, &waiting_}) {
    for (const auto& task : *tasks) {
      if (task->request.deadline <= now) return remove(task->id);
    }
  }
  return nullptr;
}

std::vector<std::unique_ptr<Task>> Scheduler::remove_all() {
  Tasks all = std::move(running_);
  for (auto& task : waiting_) all.push_back(std::move(task));
  running_.clear();
  waiting_.clear();
  served_.clear();
  return all;
}

std::vector<Scheduler::Share> Scheduler::plan(std::int64_t prompt_budget,
                                              std::int64_t lone_prompt_budget) {
  admit();
  std::vector<Share> shares;
  plan_decodes(shares);
  plan_prompts(shares.empty() ? lone_prompt_budget : prompt_budget, shares);
  return shares;
}

void Scheduler::plan_decodes(std::vector<Share>& shares) {
  std::vector<Task*> decoding;
  for (const auto& task : running_) {
    if (task->is_decoding()) decoding.push_back(task.get());
  }
  std::sort(decoding.begin(), decoding.end(),
            [](const Task* a, const Task* b) { return importance(*a) < importance(*b); });
  for (Task* task : decoding) {
    // One that was preempted for a more important one has nothing in the cache any more.
    if (task->is_decoding() && reserve(*task, task->length(), shares)) shares.push_back({task, 1});
  }
}

// The oldest prompt gets half of the budget, so that it never starves; the rest goes to what is
// done soonest, tenants that were served least first.
void Scheduler::plan_prompts(std::int64_t budget, std::vector<Share>& shares) {
  std::vector<Task*> reading;
  for (const auto& task : running_) {
    if (!task->is_decoding()) reading.push_back(task.get());
  }
  if (reading.empty()) return;
  Task* const oldest = *std::min_element(
      reading.begin(), reading.end(),
      [](const Task* a, const Task* b) { return importance(*a) < importance(*b); });
  const auto soonness = [&](const Task* task) {
    return std::tuple{task->request.priority, served_.at(task->request.tenant) + task->pending(),
                      task->id};
  };
  std::sort(reading.begin(), reading.end(),
            [&](const Task* a, const Task* b) { return soonness(a) < soonness(b); });

  std::map<Task*, std::int64_t> counts;
  const auto give = [&](Task* task, std::int64_t most) {
    std::int64_t& count = counts[task];
    const std::int64_t limit = task->request.prompt_logprobs >= 0
                                   ? std::min(task->pending(), limits_.max_logit_rows)
                                   : task->pending();
    const std::int64_t more = std::clamp<std::int64_t>(std::min(most, limit - count), 0, budget);
    count += more;
    budget -= more;
  };
  give(oldest, std::max<std::int64_t>(1, budget / 2));
  for (Task* task : reading) give(task, budget);
  std::vector<Task*> order = {oldest};
  for (Task* task : reading) {
    if (task != oldest) order.push_back(task);
  }
  for (Task* task : order) {
    const std::int64_t count = counts[task];
    // A preempted one is waiting, with other ids pending than were reckoned with.
    const bool is_running = std::any_of(running_.begin(), running_.end(),
                                        [&](const auto& other) { return other.get() == task; });
    if (count > 0 && is_running && reserve(*task, task->cache.length() + count, shares))
      shares.push_back({task, count});
  }
}

// Blocks for the task's first `length` positions; others give theirs up if need be. False when it
// is the task itself that had to.
bool Scheduler::reserve(Task& task, std::int64_t length, const std::vector<Share>& shares) {
  while (!task.cache.try_reserve(length)) {
    if (prefixes_.evict()) continue;
    Task* const loser = victim(shares);
    preempt(*loser);
    if (loser == &task) return false;
  }
  return true;
}

// The least important of the running tasks that have no share in this step yet; the asking one is
// among them.
Task* Scheduler::victim(const std::vector<Share>& shares) const {
  Task* loser = nullptr;
  for (const auto& task : running_) {
    if (contains(shares, task.get())) continue;
    if (loser == nullptr || importance(*task) > importance(*loser)) loser = task.get();
  }
  SAMPAN_CHECK(loser != nullptr);
  return loser;
}

// Back among the waiting, with all its ids; reading them again gives the same keys and values to
// the bit.
void Scheduler::preempt(Task& task) {
  prefixes_.touch(task.path);
  task.path.clear();
  task.cache.clear();
  if (!task.prompt_is_reported) task.report = {};
  ++task.stats.preemptions;
  ++preemptions_;
  const auto place = std::find_if(running_.begin(), running_.end(),
                                  [&](const auto& other) { return other.get() == &task; });
  waiting_.push_back(take(running_, place));
}

void Scheduler::admit() {
  std::vector<std::uint64_t> passed;
  while (running() < limits_.max_running) {
    const auto place = next_waiting(passed);
    if (place == waiting_.end()) return;
    Task& task = **place;
    const std::vector<PrefixCache::Entry> matched = match(task);
    if (waits_for_prefix(task, static_cast<std::int64_t>(matched.size()))) {
      passed.push_back(task.id);
      continue;
    }
    if (!is_admissible(task, matched)) return;
    for (const PrefixCache::Entry& entry : matched) {
      task.cache.share(entry.block);
      task.path.push_back(entry.node);
    }
    prefixes_.touch(task.path);
    if (!task.prompt_is_reported) {
      task.report.cached_tokens = task.stats.cached_tokens = task.cache.length();
      prefix_queries_ += task.prompt_length();
      prefix_hits_ += task.cache.length();
    }
    running_.push_back(take(waiting_, place));
  }
}

Scheduler::Tasks::iterator Scheduler::next_waiting(const std::vector<std::uint64_t>& passed) {
  const auto rank = [&](const Task& task) {
    return std::tuple{task.request.priority, served_.at(task.request.tenant), task.id};
  };
  auto best = waiting_.end();
  for (auto place = waiting_.begin(); place != waiting_.end(); ++place) {
    if (std::find(passed.begin(), passed.end(), (*place)->id) != passed.end()) continue;
    if (best == waiting_.end() || rank(**place) < rank(**best)) best = place;
  }
  return best;
}

// Room for what it has to read and one more token, beside what those that run still have to read
// and a block for each of them.
bool Scheduler::is_admissible(const Task& task,
                              const std::vector<PrefixCache::Entry>& matched) const {
  if (running_.empty()) return true;
  std::int64_t available = pool_.free_blocks() + prefixes_.idle_blocks();
  for (const PrefixCache::Entry& entry : matched)
    available -= pool_.users(entry.block) == 1 ? 1 : 0;
  for (const auto& other : running_) {
    const auto held = static_cast<std::int64_t>(other->cache.blocks().size());
    available -= std::max<std::int64_t>(1, kv_block_count(other->length() + 1) - held);
  }
  return kv_block_count(task.length() + 1) - static_cast<std::int64_t>(matched.size()) <= available;
}

// Whether somebody is reading a beginning now that this task has in common with it: then it is read
// once.
bool Scheduler::waits_for_prefix(const Task& task, std::int64_t matched) const {
  if (!task.uses_prefixes || task.request.prompt_logprobs >= 0) return false;
  for (const auto& other : running_) {
    if (!other->uses_prefixes || other->root != task.root || other->is_decoding()) continue;
    const auto difference =
        std::mismatch(task.ids.begin(), task.ids.end() - 1, other->ids.begin(), other->ids.end());
    const std::int64_t common = (difference.first - task.ids.begin()) / kKvPagePositions;
    if (common > matched && other->cache.length() < common * kKvPagePositions) return true;
  }
  return false;
}

// The blocks that begin its ids, at most all but the last id: what follows it has to be computed.
std::vector<PrefixCache::Entry> Scheduler::match(const Task& task) const {
  std::vector<PrefixCache::Entry> entries;
  const bool needs_every_row = !task.prompt_is_reported && (task.request.prompt_logprobs >= 0 ||
                                                            task.request.pooling == Pooling::kMean);
  if (!task.uses_prefixes || needs_every_row) return entries;
  PrefixCache::NodeId parent = task.root;
  const auto blocks = static_cast<std::size_t>((task.length() - 1) / kKvPagePositions);
  while (entries.size() < blocks) {
    const auto entry = prefixes_.find(parent, block_of(task, entries.size()));
    if (!entry) break;
    entries.push_back(*entry);
    parent = entry->node;
  }
  return entries;
}

void Scheduler::computed(const Share& share) {
  Task& task = *share.task;
  task.cache.set_length(task.cache.length() + share.count);
  served_.at(task.request.tenant) += share.count;
  if (!task.uses_prefixes) return;
  std::int64_t sharable = task.cache.length();
  if (limits_.prefix_length_limit != 0) sharable = std::min(sharable, limits_.prefix_length_limit);
  while (static_cast<std::int64_t>(task.path.size() + 1) * kKvPagePositions <= sharable) {
    const std::size_t index = task.path.size();
    const PrefixCache::NodeId parent = index == 0 ? task.root : task.path.back();
    const PrefixCache::Entry entry =
        prefixes_.insert(parent, block_of(task, index), task.cache.blocks()[index]);
    if (entry.block != task.cache.blocks()[index]) task.cache.replace(index, entry.block);
    task.path.push_back(entry.node);
  }
}

}  // namespace sampan
