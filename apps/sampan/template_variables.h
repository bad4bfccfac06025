#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sampan {

// "name=value" pairs → an object; a value is JSON where it parses, else a string. Throws Error kInvalidArgument for a pair without
// name or "=".
nlohmann::ordered_json parse_template_variables(const std::vector<std::string>& pairs);

}  // namespace sampan
