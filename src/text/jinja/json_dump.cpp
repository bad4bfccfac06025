#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Interpreter& interpreter, const JsonStyle& style)
      : interpreter_(interpreter), style_(style) {}

  std::string run(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void put(std::string_view text) {
    interpreter_.budget().work(text.size());
    interpreter_.budget().check_room(out_.size() + text.size());
    out_ += text;
  }

  void write(const Value& value, int level) {
    interpreter_.budget().step();
    switch (value.kind()) {
      case Kind::kNone:
        return put("null");
      case Kind::kBool:
        return put(value.as_bool() ? "true" : "false");
      case Kind::kInt:
      case Kind::kBigInt:
        charge_number(interpreter_.budget(), value);
        return put(number_text(value));
      case Kind::kFloat:
        return put(float_text(value.as_float()));
      case Kind::kString:
        return string(value.as_string().view());
      case Kind::kList:
      case Kind::kTuple:
        return list(value.as_sequence().items, level);
      case Kind::kDict:
        return dict(value.as_dict().entries(), level);
      default:
        fail(ErrorCode::kInvalidArgument, "Object of type {} is not JSON serializable",
             type_name(value));
    }
  }

  static std::string float_text(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void string(std::string_view text) {
    std::string quoted(1, '"');
    quoted.reserve(text.size() + 2);
    for (std::size_t i = 0; i < text.size();) {
      const char c = text[i];
      static constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b";
      static constexpr std::string_view kLetters = "\"\\nrtfb";
      if (const std::size_t special = kSpecial.find(c); special != std::string_view::npos) {
        quoted.push_back('\\');
        quoted.push_back(kLetters[special]);
      } else if (static_cast<unsigned char>(c) < 0x20 || (c == 0x7F && style_.ensure_ascii)) {
        quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      } else if (static_cast<unsigned char>(c) < 0x80 || !style_.ensure_ascii) {
        quoted.push_back(c);
      } else {
        const CodePoint point = code_point_at(text, i);
        escape(quoted, static_cast<std::uint32_t>(point.code));
        i += point.bytes;
        continue;
      }
      ++i;
    }
    quoted.push_back('"');
    put(quoted);
  }

  static void escape(std::string& out, std::uint32_t code) {
    if (code < 0x10000) {
      out += fmt::format("\\u{:04x}", code);
    } else {
      code -= 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF));
    }
  }

  void newline(int level) {
    if (!style_.indented) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(style_.indent);
  }

  void list(const std::vector<Value>& items, int level) {
    if (items.empty()) return put("[]");
    put("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      newline(level + 1);
      write(items[i], level + 1);
    }
    newline(level);
    put("]");
  }

  void key(const Value& name) {
    switch (name.kind()) {
      case Kind::kString:
        return string(name.as_string().view());
      case Kind::kNone:
        return put("\"null\"");
      case Kind::kBool:
        return put(name.as_bool() ? "\"true\"" : "\"false\"");
      case Kind::kInt:
      case Kind::kBigInt:
        charge_number(interpreter_.budget(), name);
        return put("\"" + number_text(name) + "\"");
      case Kind::kFloat:
        return put("\"" + float_text(name.as_float()) + "\"");
      default:
        fail(ErrorCode::kInvalidArgument, "keys must be str, int, float, bool or None, not {}",
             type_name(name));
    }
  }

  void dict(const std::vector<DictObject::Entry>& entries, int level) {
    if (entries.empty()) return put("{}");
    std::vector<const DictObject::Entry*> order;
    order.reserve(entries.size());
    for (const auto& entry : entries) order.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
        return ordered(interpreter_, CompareOp::kLt, a->first, b->first);
      });
    }
    put("{");
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      newline(level + 1);
      key(order[i]->first);
      put(style_.key_separator);
      write(order[i]->second, level + 1);
    }
    newline(level);
    put("}");
  }

  Interpreter& interpreter_;
  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string dump_json(Interpreter& interpreter, const Value& value, const JsonStyle& style) {
  return JsonWriter(interpreter, style).run(value);
}

}  // namespace sampan::jinja
