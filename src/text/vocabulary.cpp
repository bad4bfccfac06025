#include "text/vocabulary.h"

#include <cstring>
#include <limits>
#include <random>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::uint64_t kMultiplier1 = 0x9E3779B97F4A7C15ull;  // odd, from the golden ratio
constexpr std::uint64_t kMultiplier2 = 0xC2B2AE3D27D4EB4Full;  // odd, a large prime

std::uint64_t load(const char* p, std::size_t bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, p, bytes);
  return value;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t draw_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace

std::uint64_t hash_seed() {
  static const std::uint64_t seed = draw_seed();
  return seed;
}

std::uint64_t hash_bytes(std::string_view bytes) {
  static const std::uint64_t seed = hash_seed();
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = seed ^ (left * kMultiplier2);
  while (left > 16) {
    state = mix(load(p, 8) ^ kMultiplier1, load(p + 8, 8) ^ state);
    p += 16;
    left -= 16;
  }
  // The last up to 16 bytes by two loads, which overlap when there are fewer.
  std::uint64_t a = 0, b = 0;
  if (left >= 8) {
    a = load(p, 8);
    b = load(p + left - 8, 8);
  } else if (left >= 4) {
    a = load(p, 4);
    b = load(p + left - 4, 4);
  } else if (left > 0) {
    a = static_cast<unsigned char>(p[0]);
    b = (static_cast<std::uint64_t>(static_cast<unsigned char>(p[left / 2])) << 8) |
        static_cast<unsigned char>(p[left - 1]);
  }
  return mix(a ^ kMultiplier1, mix(b ^ kMultiplier2, state));
}

Vocabulary::Vocabulary(std::size_t size) : tokens_(size) {
  SAMPAN_CHECK(size <= static_cast<std::size_t>(kMaxTokens));
  std::size_t slots = 16;
  while (slots < 2 * size) slots *= 2;
  slots_.assign(slots, Slot{0, kNone});
}

void Vocabulary::set(std::int32_t id, std::string_view bytes, bool searchable) {
  SAMPAN_CHECK(id >= 0 && static_cast<std::size_t>(id) < tokens_.size());
  if (bytes.size() > std::numeric_limits<std::uint32_t>::max() - blob_.size() ||
      bytes.size() > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorCode::kLimit, "tokenizer: the token strings exceed 4 GiB");
  }
  Token& token = tokens_[static_cast<std::size_t>(id)];
  token.offset = static_cast<std::uint32_t>(blob_.size());
  token.length = static_cast<std::uint32_t>(bytes.size()) & 0x7FFFFFFFu;
  token.present = 1;
  blob_ += bytes;
  if (searchable) {
    const std::uint64_t hash = hash_bytes(bytes);
    if (find(bytes, hash) == kNone) insert(id, hash);
  }
}

void Vocabulary::insert(std::int32_t id, std::uint64_t hash) {
  if (2 * (used_ + 1) > slots_.size()) grow();
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  while (slots_[slot].id != kNone) slot = (slot + 1) & mask;
  slots_[slot] = {static_cast<std::uint32_t>(hash >> 32), id};
  ++used_;
}

void Vocabulary::grow() {
  std::vector<Slot> old(slots_.size() * 2, Slot{0, kNone});
  old.swap(slots_);
  used_ = 0;
  for (const Slot& slot : old) {
    if (slot.id != kNone) insert(slot.id, hash_bytes(bytes(slot.id)));
  }
}

std::int32_t Vocabulary::find(std::string_view text, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t slot = hash & mask; slots_[slot].id != kNone; slot = (slot + 1) & mask) {
    if (slots_[slot].tag == tag && bytes(slots_[slot].id) == text) return slots_[slot].id;
  }
  return kNone;
}

std::string_view Vocabulary::bytes(std::int32_t id) const {
  if (!has(id)) return {};
  const Token& token = tokens_[static_cast<std::size_t>(id)];
  return {blob_.data() + token.offset, token.length};
}

}  // namespace sampan
