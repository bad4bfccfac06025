#pragma once

#include <string>
#include <string_view>

namespace sampan {

// Where a URL leads: two URLs share credentials only if all three agree.
struct Origin {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address in brackets
  int port = 0;
  bool operator==(const Origin&) const = default;
};

// An http or https URL without user name, password and fragment, as libcurl's own parser reads it
// (so that what is checked here is what libcurl connects to). Immutable.
class Url {
 public:
  // Throws Error kInvalidArgument naming what for a URL that is malformed, of another scheme, or
  // holds credentials.
  static Url parse(std::string_view text, std::string_view what);
  // The target of a Location header found at this URL. Throws Error kNetwork for what parse
  // refuses.
  Url resolve(std::string_view location) const;

  const std::string& text() const { return text_; }
  const Origin& origin() const { return origin_; }
  // "huggingface.co" or "127.0.0.1:8080", for messages and manifests.
  std::string host_and_port() const;
  bool is_loopback() const;

 private:
  std::string text_;
  Origin origin_;
};

// Throws Error kNetwork where a hub at endpoint must not lead a client from one URL to the next:
// from https to http (unless both are on this machine), and from elsewhere to this machine or to
// link-local and metadata addresses.
void check_redirect(const Url& endpoint, const Url& from, const Url& to);

// Whether an address as text (IPv4, or IPv6 with or without brackets, or "localhost") is this
// machine's own, or is a link-local or cloud metadata address, which no redirect may reach.
bool is_loopback_address(std::string_view host);
bool is_metadata_address(std::string_view host);

// Everything but letters, digits and "-._~" as %XX; '/' stays when keep_slashes.
std::string percent_encode(std::string_view text, bool keep_slashes);

}  // namespace sampan
