#include "text/jinja/python_repr.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

void append_escape(std::string& out, char32_t code) {
  const auto value = static_cast<std::uint32_t>(code);
  if (code < 0x100) {
    out += fmt::format("\\x{:02x}", value);
  } else if (code < 0x10000) {
    out += fmt::format("\\u{:04x}", value);
  } else {
    out += fmt::format("\\U{:08x}", value);
  }
}

}  // namespace

std::string string_repr(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  const bool both = single && text.find('"') != std::string_view::npos;
  const char quote = single && !both ? '"' : '\'';
  std::string out(1, quote);
  out.reserve(text.size() + 2);
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (point.code == '\\' || point.code == static_cast<char32_t>(quote)) {
      out.push_back('\\');
      out.push_back(text[i]);
    } else if (point.code == '\n') {
      out += "\\n";
    } else if (point.code == '\r') {
      out += "\\r";
    } else if (point.code == '\t') {
      out += "\\t";
    } else if (!is_printable(point.code)) {
      append_escape(out, point.code);
    } else {
      out.append(text, i, point.bytes);
    }
    i += point.bytes;
  }
  out.push_back(quote);
  return out;
}

std::string to_ascii(std::string_view repr) {
  std::string out;
  for (std::size_t i = 0; i < repr.size();) {
    const CodePoint point = code_point_at(repr, i);
    if (point.code < 0x80) {
      out.push_back(repr[i]);
    } else {
      append_escape(out, point.code);
    }
    i += point.bytes;
  }
  return out;
}

namespace {

// repr() of nested values, guarding against namespaces that hold themselves.
class Printer {
 public:
  Printer(Interpreter& interpreter, TextBuilder& out) : interpreter_(interpreter), out_(out) {}

  void repr(const Value& value) {
    interpreter_.budget().step();
    if (++depth_ > kMaxDepth)
      fail(ErrorCode::kLimit, "values printed more than {} deep", kMaxDepth);
    print(value);
    --depth_;
  }

 private:
  // Namespaces start the depth of values anew, so that it alone does not bound the recursion here.
  static constexpr int kMaxDepth = 500;

  void print(const Value& value) {
    switch (value.kind()) {
      case Kind::kString:
        return string(value.as_string());
      case Kind::kList:
        return sequence(value.as_sequence().items, "[", "]");
      case Kind::kTuple:
        return tuple(value.as_sequence().items);
      case Kind::kDict:
        return entries(value.as_dict().entries());
      case Kind::kView:
        return view(value.as<ViewObject>());
      case Kind::kRange:
        return range(value.as<RangeObject>());
      case Kind::kNamespace:
        return ns(value);
      case Kind::kMacro: {
        const auto& function = *value.as<MacroObject>().function;
        const std::string name = function.name.empty() ? "anonymous" : string_repr(function.name);
        return put("<Macro " + name + ">");
      }
      case Kind::kLoop: {
        auto& loop = value.as_mutable<LoopObject>();
        return put(fmt::format("<LoopContext {}/{}>", loop.index0 + 1, loop.length(interpreter_)));
      }
      default:
        return scalar(value);
    }
  }

  void put(std::string_view text) {
    interpreter_.budget().work(text.size());
    out_.append(text, false);
  }

  void scalar(const Value& value) {
    if (value.is_number()) {
      charge_number(interpreter_.budget(), value);
      out_.append(number_text(value), value.trusted());
    } else if (value.is_none()) {
      put("None");
    } else if (value.is_undefined()) {
      put("Undefined");
    } else {
      put("<" + std::string(type_name(value)) + " object>");
    }
  }

  void string(const StringObject& value) {
    interpreter_.budget().work(value.view().size());
    const std::string text = string_repr(value.view());
    put(value.markup() ? "Markup(" + text + ")" : text);
  }

  void sequence(const std::vector<Value>& items, std::string_view open, std::string_view close) {
    put(open);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) put(", ");
      repr(items[i]);
    }
    put(close);
  }

  void tuple(const std::vector<Value>& items) {
    sequence(items, "(", items.size() == 1 ? ",)" : ")");
  }

  void entries(const std::vector<DictObject::Entry>& pairs) {
    put("{");
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i > 0) put(", ");
      repr(pairs[i].first);
      put(": ");
      repr(pairs[i].second);
    }
    put("}");
  }

  void view(const ViewObject& view) {
    const auto& pairs = view.dict.as_dict().entries();
    std::vector<Value> items;
    for (const auto& [key, value] : pairs) {
      interpreter_.budget().step();
      if (view.what == ViewObject::What::kItems) {
        items.push_back(interpreter_.tuple({key, value}));
      } else {
        items.push_back(view.what == ViewObject::What::kKeys ? key : value);
      }
    }
    put(view.what == ViewObject::What::kItems  ? "dict_items("
        : view.what == ViewObject::What::kKeys ? "dict_keys("
                                               : "dict_values(");
    sequence(items, "[", "]");
    put(")");
  }

  void range(const RangeObject& range) {
    put(range.step == 1 ? fmt::format("range({}, {})", range.start, range.stop)
                        : fmt::format("range({}, {}, {})", range.start, range.stop, range.step));
  }

  void ns(const Value& value) {
    put("<Namespace ");
    const auto& pairs = value.as<NamespaceObject>().attributes();
    const bool again = std::find(open_.begin(), open_.end(), value.object()) != open_.end();
    if (again) {
      put("{...}");
    } else {
      open_.push_back(value.object());
      entries(pairs);
      open_.pop_back();
    }
    put(">");
  }

  Interpreter& interpreter_;
  TextBuilder& out_;
  std::vector<const Object*> open_;  // namespaces being printed
  int depth_ = 0;
};

}  // namespace

void append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value) {
  Printer(interpreter, out).repr(value);
}

void append_str(Interpreter& interpreter, TextBuilder& out, const Value& value) {
  if (value.is_string()) {
    const Text& text = value.as_string().text();
    interpreter.budget().work(text.cost());
    out.append(text);
  } else if (!value.is_undefined()) {
    append_repr(interpreter, out, value);
  }
}

Text to_text(Interpreter& interpreter, const Value& value) {
  TextBuilder out(interpreter.budget());
  append_str(interpreter, out, value);
  return out.take();
}

Value to_plain_string(Interpreter& interpreter, const Value& value) {
  if (value.is_string() && !value.as_string().markup()) return value;
  return interpreter.string(to_text(interpreter, value));
}

Value soft_string(Interpreter& interpreter, const Value& value) {
  return value.is_string() ? value : interpreter.string(to_text(interpreter, value));
}

}  // namespace sampan::jinja
