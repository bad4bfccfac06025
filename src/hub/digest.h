#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace sampan {

// A running SHA-256 or SHA-1. Not thread-safe.
class Digester {
 public:
  enum class Algorithm { kSha256, kSha1 };
  explicit Digester(Algorithm algorithm);

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // Lower-case hexadecimal. Ends the digest: no update may follow.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string sha256_hex(std::string_view text);

// The identity of a file's content: its SHA-256 and the id that git gives it, sha1("blob <size>\0"
// + content), which is how Hugging Face identifies the files that are not in Git LFS.
struct ContentIds {
  std::string sha256;
  std::string git_oid;
};

class ContentHasher {
 public:
  // size: the content's length in bytes, which git's id starts with.
  // with_git_oid: whether the second digest is worth its time.
  ContentHasher(std::uint64_t size, bool with_git_oid);
  void update(std::span<const std::byte> bytes);
  ContentIds finish();  // git_oid is empty unless asked for

 private:
  Digester sha256_;
  std::unique_ptr<Digester> git_;
};

// A fast checksum (not cryptographic) that tells a piece of a partial file that survived a crash
// from one that did not.
std::uint64_t piece_checksum(std::span<const std::byte> bytes);

}  // namespace sampan
