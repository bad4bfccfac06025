#include "engine/prefix_cache.h"

#include <algorithm>
#include <random>

#include "base/error.h"

namespace sampan {

PrefixCache::PrefixCache(KvPool& pool)
    : pool_(pool), edges_(16, KeyHash{std::random_device{}() | std::uint64_t{1} << 63}) {}

PrefixCache::~PrefixCache() { clear(); }

// Multiply and rotate over the ids. The seed is drawn a process, so that nobody can prepare texts
// that collide.
std::size_t PrefixCache::KeyHash::operator()(const Key& key) const {
  std::uint64_t hash = seed ^ key.parent * 0x9E3779B97F4A7C15u;
  for (const std::int32_t id : key.ids) {
    hash = (hash ^ static_cast<std::uint32_t>(id)) * 0xBF58476D1CE4E5B9u;
    hash ^= hash >> 29;
  }
  return hash;
}

PrefixCache::NodeId PrefixCache::root(const std::string& tenant) {
  const auto [entry, is_new] = roots_.try_emplace(tenant, next_);
  if (is_new) ++next_;
  return entry->second;
}

std::optional<PrefixCache::Entry> PrefixCache::find(NodeId parent,
                                                    std::span<const std::int32_t> ids) const {
  const auto edge = edges_.find({parent, {ids.begin(), ids.end()}});
  if (edge == edges_.end()) return std::nullopt;
  return Entry{edge->second, nodes_.at(edge->second).block};
}

PrefixCache::Entry PrefixCache::insert(NodeId parent, std::span<const std::int32_t> ids,
                                       KvPool::BlockId block) {
  Key key = {parent, {ids.begin(), ids.end()}};
  const auto [edge, is_new] = edges_.try_emplace(key, next_);
  if (!is_new) return {edge->second, nodes_.at(edge->second).block};
  const NodeId id = next_++;
  pool_.retain(block);
  nodes_.emplace(id, Node{std::move(key), block, uses_.insert(uses_.end(), id)});
  return {id, block};
}

void PrefixCache::touch(std::span<const NodeId> nodes) {
  // The end of a path first: a parent is always younger than its children and outlives them.
  for (auto id = nodes.rbegin(); id != nodes.rend(); ++id) {
    const auto node = nodes_.find(*id);
    if (node != nodes_.end()) uses_.splice(uses_.end(), uses_, node->second.use);
  }
}

void PrefixCache::erase(NodeId id) {
  const auto node = nodes_.find(id);
  pool_.release(node->second.block);
  edges_.erase(node->second.key);
  uses_.erase(node->second.use);
  nodes_.erase(node);
}

bool PrefixCache::evict() {
  const auto idle = std::find_if(uses_.begin(), uses_.end(),
                                 [&](NodeId id) { return pool_.users(nodes_.at(id).block) == 1; });
  if (idle == uses_.end()) return false;
  erase(*idle);
  return true;
}

void PrefixCache::clear() {
  while (!uses_.empty()) erase(uses_.front());
}

std::int64_t PrefixCache::idle_blocks() const {
  return std::count_if(uses_.begin(), uses_.end(),
                       [&](NodeId id) { return pool_.users(nodes_.at(id).block) == 1; });
}

}  // namespace sampan
