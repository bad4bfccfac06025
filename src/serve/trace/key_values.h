#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sampan {

using KeyValues = std::vector<std::pair<std::string, std::string>>;

// "name=value,name=value" as OTEL_RESOURCE_ATTRIBUTES and OTEL_EXPORTER_OTLP_HEADERS have it: white
// space around names and values and empty entries are dropped, values are percent-decoded. At most
// 64 KiB and 256 entries. Throws Error kInvalidArgument that tells entries by their number: values
// may be secrets.
KeyValues parse_key_values(std::string_view text);

// The same for HTTP header fields: names are tokens and not those that frame a request, values have
// no control characters.
KeyValues parse_header_list(std::string_view text);

}  // namespace sampan
