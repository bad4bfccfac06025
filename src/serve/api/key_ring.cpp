#include "serve/api/key_ring.h"

#include <fmt/core.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <mutex>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxSecret = 1024;

}  // namespace

KeyRing::KeyRing(const std::vector<ApiKey>& keys) {
  if (RAND_bytes(pepper_.data(), static_cast<int>(pepper_.size())) != 1)
    fail(ErrorCode::kIo, "api keys: the system gives no random bytes");
  entries_ = entries_of(keys);
}

void KeyRing::replace(const std::vector<ApiKey>& keys) {
  std::vector<Entry> entries = entries_of(keys);
  const std::unique_lock lock(mutex_);
  entries_ = std::move(entries);
}

KeyRing::Digest KeyRing::digest(std::string_view secret) const {
  Digest result{};
  unsigned size = 0;
  const unsigned char* const done = HMAC(
      EVP_sha256(), pepper_.data(), static_cast<int>(pepper_.size()),
      reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), result.data(), &size);
  SAMPAN_CHECK(done != nullptr && size == result.size());
  return result;
}

std::vector<KeyRing::Entry> KeyRing::entries_of(const std::vector<ApiKey>& keys) const {
  std::vector<Entry> entries;
  for (const ApiKey& key : keys) {
    if (key.secret.empty() || key.secret.size() > kMaxSecret) {
      fail(ErrorCode::kInvalidArgument, "api key {}: {} bytes, not 1 to {}", entries.size() + 1,
           key.secret.size(), kMaxSecret);
    }
    Entry entry{key.id, digest(key.secret)};
    for (const Entry& other : entries) {
      if (other.digest == entry.digest)
        fail(ErrorCode::kInvalidArgument, "api key {}: the same as an earlier one",
             entries.size() + 1);
    }
    if (entry.id.empty()) {
      entry.id =
          fmt::format("key-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", entry.digest[0], entry.digest[1],
                      entry.digest[2], entry.digest[3], entry.digest[4], entry.digest[5]);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

bool KeyRing::is_open() const {
  const std::shared_lock lock(mutex_);
  return entries_.empty();
}

std::optional<std::string> KeyRing::find(std::string_view presented) const {
  if (presented.size() > kMaxSecret) return std::nullopt;
  const Digest given = digest(presented);
  const std::shared_lock lock(mutex_);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), given.data(), given.size()) == 0) found = &entry;
  }
  if (found == nullptr) return std::nullopt;
  return found->id;
}

}  // namespace sampan
