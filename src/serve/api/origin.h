#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/http/http_server.h"

namespace sampan {

// Why a server without keys must not answer this request, or nothing. Such a server trusts whoever
// is on its machine, and a browser there runs pages of anybody: one may post to 127.0.0.1 without
// asking (its Origin says so), or give its own name the address 127.0.0.1 and then read the answers
// (DNS rebinding: the Host is that name). Let in are requests
// - over a Unix socket, which no page reaches;
// - whose Host is localhost, a name under it, an address, or the host of one of `origins`, or that
//   have none (HTTP/1.0);
// - without an Origin (no page), with the Host's own or with one of `origins`;
// - all of them when `origins` has "*".
std::optional<std::string> foreign_page(const HttpRequest& head,
                                        const std::vector<std::string>& origins);

}  // namespace sampan
