#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// Seeded 64-bit hash of a byte string. The seed is drawn once a process, so that no file can be
// made whose entries all collide; results of the tokenizer never depend on it.
std::uint64_t hash_bytes(std::string_view bytes);
std::uint64_t hash_seed();

// Token ids and their byte strings. Built once, then read-only and thread-safe.
class Vocabulary {
 public:
  static constexpr std::int32_t kNone = -1;
  static constexpr std::int32_t kMaxTokens = 1 << 24;

  // Room for ids 0..size-1 (size <= kMaxTokens).
  explicit Vocabulary(std::size_t size = 0);

  // Gives `id` (0 <= id < size()) its byte string, replacing what it had. A `searchable` token is
  // what find() returns for its bytes, the first one added winning; others are only decoded.
  void set(std::int32_t id, std::string_view bytes, bool searchable);

  std::int32_t find(std::string_view bytes) const { return find(bytes, hash_bytes(bytes)); }
  std::int32_t find(std::string_view bytes, std::uint64_t hash) const;

  std::size_t size() const { return tokens_.size(); }
  bool has(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < tokens_.size() &&
           tokens_[static_cast<std::size_t>(id)].present;
  }
  // The token's bytes, empty for an id without token; valid as long as the vocabulary.
  std::string_view bytes(std::int32_t id) const;

 private:
  struct Token {
    std::uint32_t offset = 0;
    std::uint32_t length : 31 = 0;
    std::uint32_t present : 1 = 0;
  };
  struct Slot {
    std::uint32_t tag;  // high half of the hash
    std::int32_t id;    // kNone: free
  };
  void insert(std::int32_t id, std::uint64_t hash);
  void grow();

  std::string blob_;
  std::vector<Token> tokens_;
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  std::size_t used_ = 0;
};

}  // namespace sampan
