#include "serve/api/origin.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/error.h"
#include "serve/http/http_text.h"

namespace sampan {
namespace {

// "https://app.example:8443" → "app.example:8443"; "" for "null" and what is no origin.
std::string_view authority_of(std::string_view origin) {
  const std::size_t slashes = origin.find("://");
  return slashes == std::string_view::npos ? std::string_view() : origin.substr(slashes + 3);
}

// Without the port and an address's brackets.
std::string_view host_of(std::string_view authority) {
  const std::size_t bracket = authority.find(']');
  if (authority.starts_with('[') && bracket != std::string_view::npos)
    return authority.substr(1, bracket - 1);
  return authority.substr(0, authority.find(':'));
}

// Names that nobody but this machine gives an address to, and addresses, which are no names.
bool is_own_host(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  const std::string text(host);
  ::in6_addr address{};  // has room for the shorter ones
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

}  // namespace

std::optional<std::string> foreign_page(const HttpRequest& head,
                                        const std::vector<std::string>& origins) {
  const auto has = [&](std::string_view one) {
    return std::find(origins.begin(), origins.end(), one) != origins.end();
  };
  if (head.peer == "unix" || has("*")) return std::nullopt;
  const std::string authority = lower_ascii(head.header("host").value_or(""));
  const std::string_view host = host_of(authority);
  const bool is_named = std::any_of(origins.begin(), origins.end(), [&](const std::string& one) {
    return host_of(authority_of(one)) == host;
  });
  if (!host.empty() && !is_named && !is_own_host(host))
    return "Without keys this server answers for its own machine only, not for the host " +
           printable(host, 100) + ": set an api_key, or name the pages' cors_origin.";
  const auto origin = head.header("origin");
  if (!origin || has(*origin) ||
      (!authority.empty() && lower_ascii(authority_of(*origin)) == authority))
    return std::nullopt;
  return "Without keys this server does not answer pages of " + printable(*origin, 100) +
         ": name them as a cors_origin.";
}

}  // namespace sampan
