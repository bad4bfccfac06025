#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/kv_pool.h"

namespace sampan {

// Full blocks of texts that were read before, by what they hold and what came before them: a tree a
// tenant, whose edges are the ids of one block. Lookups compare the ids themselves, so that no
// collision of hashes can show one text's keys for another's, and a tenant's tree is reached from
// that tenant's root only: nobody can find out by timing what others have asked. The cache is one
// more user of its blocks; those that it uses alone are given up, least recently used first, when
// the pool runs out. Not thread-safe.
class PrefixCache {
 public:
  using NodeId = std::uint64_t;
  struct Entry {
    NodeId node = 0;
    KvPool::BlockId block = 0;
  };

  explicit PrefixCache(KvPool& pool);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  NodeId root(const std::string& tenant);
  // The block of kKvPagePositions ids below `parent`.
  std::optional<Entry> find(NodeId parent, std::span<const std::int32_t> ids) const;
  // Adds it; where there is one already, that one is returned and `block` left alone.
  Entry insert(NodeId parent, std::span<const std::int32_t> ids, KvPool::BlockId block);
  // Marks a path as just used. nodes: root's child first.
  void touch(std::span<const NodeId> nodes);
  // Gives up one block that nobody else uses. False when there is none.
  bool evict();
  void clear();

  std::int64_t size() const { return static_cast<std::int64_t>(nodes_.size()); }
  // Blocks that evict() could free.
  std::int64_t idle_blocks() const;

 private:
  struct Key {
    NodeId parent = 0;
    std::vector<std::int32_t> ids;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::uint64_t seed;
    std::size_t operator()(const Key& key) const;
  };
  struct Node {
    Key key;
    KvPool::BlockId block = 0;
    std::list<NodeId>::iterator use;
  };

  void erase(NodeId id);

  KvPool& pool_;
  NodeId next_ =
      1;  // numbers are never used again, so that a child of an evicted parent is out of reach
  std::map<std::string, NodeId> roots_;
  std::unordered_map<Key, NodeId, KeyHash> edges_;
  std::unordered_map<NodeId, Node> nodes_;
  std::list<NodeId> uses_;  // least recently used first
};

}  // namespace sampan
