#include <fmt/core.h>

#include <cmath>
#include <set>

#include "serve/api/api_server.h"
#include "serve/api/route.h"

namespace sampan {
namespace {

constexpr std::string_view kHead = R"(# HTTP API

Made by `sampan serve --api-reference` from the tables that the server parses requests with
(`src/serve/api/`); a test compares this file with them.

- **honoured**: does what the API's own documentation says, within the range given.
- **ignored**: known, changes nothing; named in the response header `x-sampan-ignored`, as unknown
  fields are.
- **refused**: answered with 400 and the field's name, unless its value asks for nothing (null,
  false, "", [], {} or what the note says).
- **not there yet**: the same, and it will come.

With keys set, every route needs one, as `Authorization: Bearer KEY` or `x-api-key: KEY`; `/health`
does not. Bodies are JSON in UTF-8, at most 64 MiB and 128 levels, without a key twice in an object.
Routes of OpenAI's and Anthropic's APIs want the content type `application/json`; Ollama's read JSON
whatever it says. Special tokens in messages, tool results included, are text.

)";

std::string_view type_name(Field::Type type) {
  switch (type) {
    case Field::Type::kString:
      return "string";
    case Field::Type::kInteger:
      return "integer";
    case Field::Type::kNumber:
      return "number";
    case Field::Type::kBool:
      return "boolean";
    case Field::Type::kObject:
      return "object";
    case Field::Type::kArray:
      return "array";
    case Field::Type::kStrings:
      return "string or strings";
    case Field::Type::kAny:
      break;
  }
  return "";
}

std::string_view status_name(Field::Status status) {
  switch (status) {
    case Field::Status::kHonoured:
      return "honoured";
    case Field::Status::kIgnored:
      return "ignored";
    case Field::Status::kRefused:
      return "refused";
    case Field::Status::kNotThere:
      break;
  }
  return "not there yet";
}

std::string bound(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return fmt::format("{}", static_cast<std::int64_t>(value));
  return fmt::format("{}", value);
}

std::string range_text(const Field& field) {
  if (!field.values.empty()) {
    std::string text(field.values);
    for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
      text.replace(at, 1, ", ");
    return text;
  }
  const bool counts = field.type == Field::Type::kArray || field.type == Field::Type::kStrings;
  const std::string_view unit = counts ? " entries" : "";
  if (std::isinf(field.min) && std::isinf(field.max)) return "";
  if (std::isinf(field.max)) return fmt::format("{} and more{}", bound(field.min), unit);
  if (std::isinf(field.min)) return fmt::format("up to {}{}", bound(field.max), unit);
  return fmt::format("{} to {}{}", bound(field.min), bound(field.max), unit);
}

std::string note_text(const Field& field) {
  std::string text(field.note);
  if (field.neutral.empty()) return text;
  std::string values(field.neutral);
  for (std::size_t at = 0; (at = values.find('|', at)) != std::string::npos; at += 4)
    values.replace(at, 1, " or ");
  return text + (text.empty() ? "" : "; ") + values + " is fine";
}

void write_fields(const FieldTable& table, const std::string& prefix, std::string& out) {
  for (const Field& field : table) {
    const std::string name = prefix + std::string(field.name);
    out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", name, type_name(field.type),
                       status_name(field.status), range_text(field),
                       field.is_required ? "**required**" : std::string(field.fallback),
                       note_text(field));
    if (field.members != nullptr)
      write_fields(*field.members, name + (field.type == Field::Type::kArray ? "[]." : "."), out);
  }
}

std::string_view section_name(const Route& route) {
  const std::string_view path = route.path;
  if (route.dialect == Dialect::kAnthropic) return "Anthropic";
  if (route.dialect == Dialect::kOllama) return "Ollama";
  if (path.starts_with("/v1/") && path.find("rerank") == std::string_view::npos) return "OpenAI";
  return "Others";
}

// The route that showed the same table first.
const Route* shown_before(const Route& route) {
  for (const Route& other : routes()) {
    if (&other == &route) return nullptr;
    if (other.fields == route.fields) return &other;
  }
  return nullptr;
}

void write_route(const Route& route, std::string& out) {
  out += fmt::format("### {} {}\n\n{}", route.method, route.path, route.summary);
  if (route.status == Route::Status::kRefused) out += " **Refused.**";
  if (route.status == Route::Status::kNotThere) out += " **Not there yet.**";
  out += "\n\n";
  if (route.fields == nullptr) return;
  if (const Route* const other = shown_before(route)) {
    out += fmt::format("Fields as of {} {}.\n\n", other->method, other->path);
    return;
  }
  out += "| field | type | status | range | default | note |\n|---|---|---|---|---|---|\n";
  write_fields(route.fields(), "", out);
  out += "\n";
}

}  // namespace

std::string api_reference() {
  std::string out(kHead);
  for (const std::string_view section : {"OpenAI", "Anthropic", "Ollama", "Others"}) {
    out += fmt::format("## {}\n\n", section);
    for (const Route& route : routes()) {
      if (section_name(route) == section) write_route(route, out);
    }
  }
  out.pop_back();  // one line break at the end
  return out;
}

}  // namespace sampan
