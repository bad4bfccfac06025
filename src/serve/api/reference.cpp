#include <fmt/core.h>

#include "serve/api/api_server.h"
#include "serve/api/route.h"

namespace sampan {

std::string api_reference() { return ""; }

}  // namespace sampan
