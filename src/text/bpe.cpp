#include "text/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::uint32_t kNoMerge = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kNoSymbol = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kMaxMerges = 1u << 25;
// Up to this many symbols a linear search for the best pair beats a heap (measured on Chinese text:
// 96 about equal).
constexpr std::size_t kShortPiece = 64;
constexpr std::size_t kCacheEntries = 8192;  // a power of two; 512 KiB, an L2 cache's share
constexpr std::size_t kCachedBytes = 30, kCachedIds = 8;

}  // namespace

// One cache line. size == 0: free.
struct alignas(64) BpeScratch::CachedPiece {
  std::uint8_t size = 0;
  std::uint8_t id_count = 0;
  char bytes[kCachedBytes];
  std::int32_t ids[kCachedIds];
};

BpeScratch::BpeScratch() : cache_(kCacheEntries) {}
BpeScratch::~BpeScratch() = default;

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)), whole_(vocabulary_->size()) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary_->find({&text, 1});
  }
  for (std::size_t id = 0; id < vocabulary_->size(); ++id) {
    longest_token_ =
        std::max(longest_token_, vocabulary_->bytes(static_cast<std::int32_t>(id)).size());
  }
  by_rank_ = true;
  options_.ignore_merges = true;
}

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary, std::span<const Merge> merges,
         Options options)
    : Bpe(std::move(vocabulary)) {
  by_rank_ = false;
  options_ = options;
  if (merges.size() > kMaxMerges) {
    fail(ErrorCode::kLimit, "tokenizer: {} merges, at most {} are read", merges.size(), kMaxMerges);
  }
  merge_count_ = merges.size();
  std::size_t slots = 16;
  while (slots < 2 * merges.size()) slots *= 2;
  pairs_.assign(slots, PairSlot{-1, -1, kNoMerge, -1});
  pair_seed_ = hash_seed();
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    add_merge(merges[rank], static_cast<std::uint32_t>(rank));
  }
}

namespace {

std::uint64_t hash_pair(std::int32_t left, std::int32_t right, std::uint64_t seed) {
  const std::uint64_t key = (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
                            static_cast<std::uint32_t>(right);
  const std::uint64_t mixed = (key ^ seed) * 0x9E3779B97F4A7C15ull;
  return (mixed ^ (mixed >> 32)) * 0xC2B2AE3D27D4EB4Full >> 20;
}

}  // namespace

// A pair that is listed twice keeps its last rank, as in tokenizers.
void Bpe::add_merge(const Merge& merge, std::uint32_t rank) {
  const std::size_t mask = pairs_.size() - 1;
  std::size_t slot = hash_pair(merge.left, merge.right, pair_seed_) & mask;
  while (pairs_[slot].left >= 0 &&
         (pairs_[slot].left != merge.left || pairs_[slot].right != merge.right)) {
    slot = (slot + 1) & mask;
  }
  pairs_[slot] = {merge.left, merge.right, rank, merge.merged};
}

// Sets left.rank and left.merged for its merge with `right`, whose bytes end at `end` in the piece.
inline void Bpe::find_merge(std::string_view piece, BpeScratch::Symbol& left,
                            const BpeScratch::Symbol& right, std::size_t end) const {
  left.rank = kNoMerge;
  if (by_rank_) {
    const std::size_t length = end - left.begin;
    if (length > longest_token_) return;
    const std::int32_t id = vocabulary_->find(piece.substr(left.begin, length));
    if (id == Vocabulary::kNone) return;
    left.rank = static_cast<std::uint32_t>(id);
    left.merged = id;
    return;
  }
  const std::size_t mask = pairs_.size() - 1;
  std::size_t slot = hash_pair(left.id, right.id, pair_seed_) & mask;
  for (; pairs_[slot].left >= 0; slot = (slot + 1) & mask) {
    if (pairs_[slot].left == left.id && pairs_[slot].right == right.id) {
      left.rank = pairs_[slot].rank;
      left.merged = pairs_[slot].merged;
      return;
    }
  }
}

// One symbol a byte. `begin` of the sentinel after the last one is the piece's size.
void Bpe::load_symbols(std::string_view piece, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  symbols.clear();
  bool after_unknown = false;
  for (std::size_t i = 0; i < piece.size(); ++i) {
    std::int32_t id = byte_ids_[static_cast<unsigned char>(piece[i])];
    const bool unknown = id == Vocabulary::kNone;
    if (unknown) {
      if (options_.unknown == Vocabulary::kNone) continue;
      if (after_unknown && options_.fuse_unknown) continue;
      id = options_.unknown;
    }
    after_unknown = unknown;
    symbols.push_back({id, static_cast<std::uint32_t>(i), kNoMerge, 0});
  }
  symbols.push_back({Vocabulary::kNone, static_cast<std::uint32_t>(piece.size()), kNoMerge, 0});
  for (std::size_t i = 0; i + 2 < symbols.size(); ++i) {
    find_merge(piece, symbols[i], symbols[i + 1], symbols[i + 2].begin);
  }
}

// Leaves the merged symbols, without the sentinel, in scratch.symbols_.
void Bpe::merge_piece(std::string_view piece, BpeScratch& scratch) const {
  load_symbols(piece, scratch);
  if (scratch.symbols_.size() <= kShortPiece + 1) {
    merge_short(piece, scratch);
  } else {
    merge_long(piece, scratch);
  }
}

void Bpe::merge_short(std::string_view piece, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  std::size_t count = symbols.size() - 1;
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (symbols[i].rank < symbols[best].rank) best = i;
    }
    if (symbols[best].rank == kNoMerge) break;
    symbols[best].id = symbols[best].merged;
    std::memmove(&symbols[best + 1], &symbols[best + 2], (count - best - 1) * sizeof(symbols[0]));
    --count;
    if (best + 1 < count) {
      find_merge(piece, symbols[best], symbols[best + 1], symbols[best + 2].begin);
    } else {
      symbols[best].rank = kNoMerge;
    }
    if (best > 0) {
      find_merge(piece, symbols[best - 1], symbols[best], symbols[best + 1].begin);
    }
  }
  symbols.resize(count);
}

// The same with a heap of (rank, position) over a linked list. A heap entry is stale when its
// symbol no longer has that rank; ranks identify pairs, so an entry that agrees is as good as
// fresh.
void Bpe::merge_long(std::string_view piece, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& links = scratch.links_;
  auto& heap = scratch.heap_;
  const std::size_t count = symbols.size() - 1;
  links.resize(count + 1);
  heap.clear();
  const auto entry = [&symbols](std::size_t i) {
    return (static_cast<std::uint64_t>(symbols[i].rank) << 32) | i;
  };
  for (std::size_t i = 0; i <= count; ++i) {
    links[i] = {static_cast<std::uint32_t>(i) - 1, static_cast<std::uint32_t>(i) + 1};
    if (symbols[i].rank != kNoMerge) heap.push_back(entry(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto refresh = [&](std::uint32_t i) {
    const std::uint32_t next = links[i].next;
    if (next >= count) {
      symbols[i].rank = kNoMerge;
      return;
    }
    find_merge(piece, symbols[i], symbols[next], symbols[links[next].next].begin);
    if (symbols[i].rank == kNoMerge) return;
    heap.push_back(entry(i));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const auto position = static_cast<std::uint32_t>(heap.front());
    const auto rank = static_cast<std::uint32_t>(heap.front() >> 32);
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    BpeScratch::Symbol& symbol = symbols[position];
    if (symbol.rank != rank) continue;
    symbol.id = symbol.merged;
    const std::uint32_t eaten = links[position].next;
    symbols[eaten].rank = kNoMerge;
    links[position].next = links[eaten].next;
    links[links[eaten].next].previous = position;
    refresh(position);
    if (links[position].previous != kNoSymbol) refresh(links[position].previous);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; i = links[i].next) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

void Bpe::encode_cached(std::string_view piece, std::uint64_t hash, BpeScratch& scratch,
                        std::vector<std::int32_t>& ids) const {
  BpeScratch::CachedPiece& entry = scratch.cache_[(hash >> 8) & (kCacheEntries - 1)];
  if (entry.size == piece.size() && std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    ids.insert(ids.end(), entry.ids, entry.ids + entry.id_count);
    return;
  }
  merge_piece(piece, scratch);
  for (const auto& symbol : scratch.symbols_) ids.push_back(symbol.id);
  if (scratch.symbols_.size() > kCachedIds) return;
  entry.size = static_cast<std::uint8_t>(piece.size());
  entry.id_count = static_cast<std::uint8_t>(scratch.symbols_.size());
  std::memcpy(entry.bytes, piece.data(), piece.size());
  for (std::size_t i = 0; i < scratch.symbols_.size(); ++i) entry.ids[i] = scratch.symbols_[i].id;
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch,
                 std::vector<std::int32_t>& ids) const {
  if (piece.empty()) return;
  if (piece.size() <= std::max(longest_token_, kCachedBytes)) {
    const std::uint64_t hash = hash_bytes(piece);
    const std::int32_t id = vocabulary_->find(piece, hash);
    if (id != Vocabulary::kNone) {
      auto& whole = whole_[static_cast<std::size_t>(id)];
      if (options_.ignore_merges || whole.load(std::memory_order_relaxed) == kWhole) {
        ids.push_back(id);
        return;
      }
      if (whole.load(std::memory_order_relaxed) == kUnknown) {
        merge_piece(piece, scratch);
        const bool alone = scratch.symbols_.size() == 1 && scratch.symbols_[0].id == id;
        whole.store(alone ? kWhole : kNotWhole, std::memory_order_relaxed);
        for (const auto& symbol : scratch.symbols_) ids.push_back(symbol.id);
        return;
      }
    }
    if (piece.size() <= kCachedBytes) {
      encode_cached(piece, hash, scratch, ids);
      return;
    }
  }
  merge_piece(piece, scratch);
  for (const auto& symbol : scratch.symbols_) ids.push_back(symbol.id);
}

}  // namespace sampan
