#pragma once

#include <array>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// A key that opens the API, as the configuration gives it.
struct ApiKey {
  std::string id;  // name for logs, fairness and cache isolation; "": made of the key's digest
  std::string secret;
};

// The keys of the server. Only their HMAC-SHA256 under a random key of this process is kept, and a
// presented key is compared with all of them in constant time. Thread-safe.
class KeyRing {
 public:
  // Throws Error kInvalidArgument for an empty secret, one over 1,024 bytes, or one that comes
  // twice.
  explicit KeyRing(const std::vector<ApiKey>& keys = {});
  // From now on these. Throws as the constructor does and changes nothing.
  void replace(const std::vector<ApiKey>& keys);

  // No key is set: everyone may ask.
  bool is_open() const;
  // The id of the key that was presented; nothing when it is none of ours.
  std::optional<std::string> find(std::string_view presented) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Entry {
    std::string id;
    Digest digest;
  };

  Digest digest(std::string_view secret) const;
  std::vector<Entry> entries_of(const std::vector<ApiKey>& keys) const;

  Digest pepper_;
  mutable std::shared_mutex mutex_;  // guards entries_
  std::vector<Entry> entries_;
};

}  // namespace sampan
