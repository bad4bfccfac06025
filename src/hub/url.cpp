#include "hub/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxUrlBytes = 16 * 1024;  // signed storage URLs reach 2 KiB

struct FreeUrl {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
using UrlHandle = std::unique_ptr<CURLU, FreeUrl>;

std::string part(CURLU* handle, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, which, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
}

// Sets the handle to text (relative to what it holds already). The answer is a problem, empty if
// there is none.
std::string set_url(CURLU* handle, std::string_view text) {
  if (text.size() > kMaxUrlBytes) return "it is longer than 16 KiB";
  if (has_control_character(text)) return "it has control characters";
  const std::string copy(text);
  // No CURLU_NON_SUPPORT_SCHEME: libcurl refuses what it was built without; the check below leaves
  // only http(s).
  if (curl_url_set(handle, CURLUPART_URL, copy.c_str(), CURLU_URLENCODE) != CURLUE_OK)
    return "it is malformed";
  const std::string scheme = part(handle, CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http") return "its scheme is not http or https";
  if (!part(handle, CURLUPART_USER).empty() || !part(handle, CURLUPART_PASSWORD).empty()) {
    return "it holds a user name or password";
  }
  if (part(handle, CURLUPART_HOST).empty()) return "it has no host";
  return {};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return text;
}

Origin origin_of(CURLU* handle) {
  Origin origin{part(handle, CURLUPART_SCHEME), lower(part(handle, CURLUPART_HOST)), 0};
  const std::string port = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), origin.port);
  return origin;
}

std::string_view without_brackets(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    return host.substr(1, host.size() - 2);
  return host;
}

}  // namespace

Url Url::parse(std::string_view text, std::string_view what) {
  const UrlHandle handle(curl_url());
  SAMPAN_CHECK(handle != nullptr);
  if (const std::string problem = set_url(handle.get(), text); !problem.empty()) {
    fail(ErrorCode::kInvalidArgument, "{} \"{}\": {}", what, printable(text), problem);
  }
  curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  Url url;
  url.text_ = part(handle.get(), CURLUPART_URL);
  url.origin_ = origin_of(handle.get());
  return url;
}

Url Url::resolve(std::string_view location) const {
  const UrlHandle handle(curl_url());
  SAMPAN_CHECK(handle != nullptr);
  SAMPAN_CHECK(curl_url_set(handle.get(), CURLUPART_URL, text_.c_str(), 0) == CURLUE_OK);
  if (const std::string problem = set_url(handle.get(), location); !problem.empty()) {
    fail(ErrorCode::kNetwork, "{}: redirects to \"{}\": {}", host_and_port(), printable(location),
         problem);
  }
  curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  Url url;
  url.text_ = part(handle.get(), CURLUPART_URL);
  url.origin_ = origin_of(handle.get());
  return url;
}

std::string Url::host_and_port() const {
  const bool is_default = origin_.port == (origin_.scheme == "https" ? 443 : 80);
  return is_default ? origin_.host : fmt::format("{}:{}", origin_.host, origin_.port);
}

bool Url::is_loopback() const { return is_loopback_address(origin_.host); }

void check_redirect(const Url& endpoint, const Url& from, const Url& to) {
  const bool to_plain = from.origin().scheme == "https" && to.origin().scheme == "http";
  if (to_plain && !(from.is_loopback() && to.is_loopback())) {
    fail(ErrorCode::kNetwork, "{}: redirects from https to plain http at {}, which is refused",
         from.host_and_port(), printable(to.host_and_port()));
  }
  const bool to_inside = to.is_loopback() && !endpoint.is_loopback();
  if (to_inside || is_metadata_address(to.origin().host)) {
    fail(ErrorCode::kNetwork, "{}: redirects to the local address {}, which is refused",
         from.host_and_port(), printable(to.host_and_port()));
  }
}

bool is_loopback_address(std::string_view host) {
  const std::string text(without_brackets(host));
  if (text == "localhost" || text.ends_with(".localhost")) return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    const std::uint32_t address = ntohl(v4.s_addr);
    return (address >> 24) == 127 || address == 0;
  }
  in6_addr v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return v6.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6);
}

bool is_metadata_address(std::string_view host) {
  const std::string text(without_brackets(host));
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) != 1) {
    if (::inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
    in6_addr amazon{};
    ::inet_pton(AF_INET6, "fd00:ec2::254", &amazon);
    if (IN6_IS_ADDR_LINKLOCAL(&v6) || std::equal(v6.s6_addr, v6.s6_addr + 16, amazon.s6_addr))
      return true;
    if (!IN6_IS_ADDR_V4MAPPED(&v6)) return false;
    std::copy(v6.s6_addr + 12, v6.s6_addr + 16, reinterpret_cast<unsigned char*>(&v4.s_addr));
  }
  const std::uint32_t address = ntohl(v4.s_addr);
  constexpr std::uint32_t kLinkLocal = 0xA9FE0000;  // 169.254.0.0/16
  constexpr std::uint32_t kAlibaba = 0x646464C8;    // 100.100.100.200
  return (address & 0xFFFF0000) == kLinkLocal || address == kAlibaba;
}

std::string percent_encode(std::string_view text, bool keep_slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (keep_slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

}  // namespace sampan
