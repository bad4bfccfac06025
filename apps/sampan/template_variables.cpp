#include "template_variables.h"

#include "base/error.h"

namespace sampan {

nlohmann::ordered_json parse_template_variables(const std::vector<std::string>& pairs) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ErrorCode::kInvalidArgument, "--set {}: not NAME=VALUE", printable(pair));
    }
    const std::string value = pair.substr(equals + 1);
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(value, nullptr, false);
    variables[pair.substr(0, equals)] = json.is_discarded() ? nlohmann::ordered_json(value) : json;
  }
  return variables;
}

}  // namespace sampan
