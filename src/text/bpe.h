#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace sampan {

// Buffers and the cache of recently merged pieces that one thread uses while it encodes. Not
// thread-safe; belongs to one Bpe.
class BpeScratch {
 public:
  BpeScratch();
  ~BpeScratch();

 private:
  friend class Bpe;
  struct CachedPiece;
  struct Symbol {
    std::int32_t id;
    std::uint32_t begin;  // byte offset in the piece
    std::uint32_t rank;   // of the merge with the next symbol, kNoMerge if there is none
    std::int32_t merged;  // the id that this merge gives
  };
  struct Link {
    std::uint32_t previous, next;
  };
  std::vector<CachedPiece> cache_;
  std::vector<Symbol> symbols_;
  std::vector<Link> links_;
  std::vector<std::uint64_t> heap_;
};

// Byte-pair encoding of one piece of text: starting from its bytes, the neighbouring pair of the
// lowest rank is merged, the leftmost first, until no pair merges. Ids equal Hugging Face
// tokenizers' BPE model (a merge table) and tiktoken's (ranks). Read-only after construction but
// for a memo of atomic bytes; thread-safe. O(n log n) in the piece's length.
class Bpe {
 public:
  struct Merge {
    std::int32_t left, right, merged;  // token ids; the rank is the position in the list
  };
  struct Options {
    // A piece that is a token is that token, whatever the merges say (Llama 3; always so in
    // tiktoken).
    bool ignore_merges = false;
    // The token for a byte that is none, kNone: such a byte is left out, as tokenizers does.
    // fuse_unknown: one token for a run of them.
    std::int32_t unknown = Vocabulary::kNone;
    bool fuse_unknown = false;
  };

  // A merge table. Throws Error kLimit for more than 2^25 merges.
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, std::span<const Merge> merges, Options options);
  // tiktoken's rule: any two neighbours whose concatenation is a token merge, and that token's id
  // is the rank.
  explicit Bpe(std::shared_ptr<const Vocabulary> vocabulary);

  // Appends the ids of `piece` (below 2^31 bytes).
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::int32_t>& ids) const;

  std::size_t merge_count() const { return merge_count_; }

 private:
  struct PairSlot {
    std::int32_t left, right;  // left < 0: free
    std::uint32_t rank;
    std::int32_t merged;
  };
  void find_merge(std::string_view piece, BpeScratch::Symbol& left, const BpeScratch::Symbol& right,
                  std::size_t end) const;
  void add_merge(const Merge& merge, std::uint32_t rank);
  void load_symbols(std::string_view piece, BpeScratch& scratch) const;
  void merge_piece(std::string_view piece, BpeScratch& scratch) const;
  void merge_short(std::string_view piece, BpeScratch& scratch) const;
  void merge_long(std::string_view piece, BpeScratch& scratch) const;
  void encode_cached(std::string_view piece, std::uint64_t hash, BpeScratch& scratch,
                     std::vector<std::int32_t>& ids) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  Options options_;
  bool by_rank_ = false;
  std::size_t merge_count_ = 0;
  std::int32_t byte_ids_[256];
  std::size_t longest_token_ = 0;
  std::vector<PairSlot> pairs_;  // open addressing, a power of two
  std::uint64_t pair_seed_ = 0;
  // Whether a token's own bytes encode to that token alone; found out when a piece first asks.
  enum Whole : std::uint8_t { kUnknown, kWhole, kNotWhole };
  mutable std::vector<std::atomic<std::uint8_t>> whole_;
};

}  // namespace sampan
