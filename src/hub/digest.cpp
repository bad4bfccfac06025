#include "hub/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstring>

#include "base/error.h"

namespace sampan {

Digester::Digester(Algorithm algorithm) : context_(EVP_MD_CTX_new()) {
  const EVP_MD* type = algorithm == Algorithm::kSha256 ? EVP_sha256() : EVP_sha1();
  SAMPAN_CHECK(context_ != nullptr);
  SAMPAN_CHECK(EVP_DigestInit_ex(context_.get(), type, nullptr) == 1);
}

void Digester::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

void Digester::update(std::span<const std::byte> bytes) {
  SAMPAN_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

void Digester::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Digester::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  SAMPAN_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view text) {
  Digester digester(Digester::Algorithm::kSha256);
  digester.update(text);
  return digester.hex();
}

ContentHasher::ContentHasher(std::uint64_t size, bool with_git_oid)
    : sha256_(Digester::Algorithm::kSha256) {
  if (!with_git_oid) return;
  git_ = std::make_unique<Digester>(Digester::Algorithm::kSha1);
  const std::string header = "blob " + std::to_string(size);
  git_->update(std::string_view(header.c_str(), header.size() + 1));  // with the terminating zero
}

void ContentHasher::update(std::span<const std::byte> bytes) {
  sha256_.update(bytes);
  if (git_) git_->update(bytes);
}

ContentIds ContentHasher::finish() { return {sha256_.hex(), git_ ? git_->hex() : std::string()}; }

std::uint64_t piece_checksum(std::span<const std::byte> bytes) {
  // Four independent multiply-rotate lanes keep the multiplier busy; the length is mixed in, so
  // that a zero-filled or shortened piece differs from the real one.
  constexpr std::uint64_t kPrime = 0x9E3779B185EBCA87ull;
  const auto mix = [](std::uint64_t h, std::uint64_t word) {
    h = (h ^ word) * kPrime;
    return (h << 29) | (h >> 35);
  };
  std::uint64_t lanes[4] = {1, 2, 3, 4};
  std::size_t i = 0;
  for (; i + 32 <= bytes.size(); i += 32) {
    std::uint64_t words[4];
    std::memcpy(words, bytes.data() + i, 32);
    for (int lane = 0; lane < 4; ++lane) lanes[lane] = mix(lanes[lane], words[lane]);
  }
  for (; i < bytes.size(); ++i) lanes[0] = mix(lanes[0], static_cast<std::uint64_t>(bytes[i]));
  std::uint64_t h = bytes.size();
  for (const std::uint64_t lane : lanes) h = mix(h, lane);
  return h ^ (h >> 32);
}

}  // namespace sampan
