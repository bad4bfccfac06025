#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"

namespace sampan::jinja {

// A template rendered with the variables of a JSON object.
inline std::string render(std::string_view source, std::string_view variables_json = "{}",
                          const Limits& limits = {}) {
  const TemplateTree tree = parse_template(source);
  Budget budget(limits);
  const Value object = parse_json(&budget, variables_json, false, "variables");
  std::map<std::string, Value> variables;
  for (const auto& [key, value] : object.as_dict().entries()) {
    variables[std::string(key.as_string().view())] = value;
  }
  return Interpreter(budget, tree, std::move(variables),
                     [] { return std::chrono::system_clock::time_point(); })
      .run()
      .bytes;
}

// The code of the error that a rendering throws, or nothing.
inline std::optional<ErrorCode> render_error(std::string_view source,
                                             std::string_view variables_json = "{}",
                                             const Limits& limits = {}) {
  try {
    render(source, variables_json, limits);
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

}  // namespace sampan::jinja
