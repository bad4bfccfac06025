#include "text/chat_template_input.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/unicode.h"

namespace sampan {
namespace {

using jinja::DictObject;
using jinja::Kind;
using jinja::Text;
using jinja::Value;

constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::array<std::string_view, 3> kReasoningFields = {"reasoning_content", "thinking",
                                                              "reasoning"};

[[noreturn]] void reject(const std::string& message) {
  fail(ErrorCode::kInvalidArgument, "chat template: {}", message);
}

bool is_known_role(std::string_view role) {
  static constexpr std::array<std::string_view, 8> kRoles = {
      "assistant", "developer", "function", "ipython", "model", "system", "tool", "user"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

const Value* field_of(const Value& message, std::string_view name) {
  return message.as_dict().find(name);
}

bool is_missing_or_none(const Value* value) { return value == nullptr || value->is_none(); }

void require_objects(const Value& list, const char* what) {
  if (!list.is(Kind::kList)) reject(fmt::format("{} must be a list of objects", what));
  for (const Value& item : list.as_sequence().items) {
    if (!item.is(Kind::kDict)) {
      reject(fmt::format("{} must be objects, but one is a '{}'", what, type_name(item)));
    }
  }
}

// Sets a key of a dict's entries, where it is or at the end.
void set_entry(std::vector<DictObject::Entry>& entries, const Value& key, const Value& value) {
  for (auto& [name, held] : entries) {
    if (name.is_string() && name.as_string().view() == key.as_string().view()) {
      held = value;
      return;
    }
  }
  entries.emplace_back(key, value);
}

std::string_view strip_spaces(std::string_view text) {
  while (!text.empty() && jinja::is_space(jinja::code_point_at(text, 0).code)) {
    text.remove_prefix(jinja::code_point_at(text, 0).bytes);
  }
  while (!text.empty()) {
    const std::size_t last = jinja::previous_code_point(text, text.size());
    if (!jinja::is_space(jinja::code_point_at(text, last).code)) break;
    text = text.substr(0, last);
  }
  return text;
}

// Python's truth of a JSON value.
bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    case Kind::kString:
      return !value.as_string().view().empty();
    case Kind::kList:
      return !value.as_sequence().items.empty();
    case Kind::kDict:
      return !value.as_dict().entries().empty();
    default:
      return true;
  }
}

bool same_value(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return a.as_string().view() == b.as_string().view();
  return a.same_as(b);
}

}  // namespace

PreparedChat::PreparedChat(jinja::Budget& budget, const Value& messages, const Value& tools,
                           const Value& variables,
                           const std::map<std::string, std::string>& special_tokens,
                           std::string_view source)
    : budget_(budget) {
  require_objects(messages, "messages");
  if (messages.as_sequence().items.empty()) reject("the conversation has no message");
  if (!tools.is_none()) require_objects(tools, "tools");
  for (const auto& [name, token] : special_tokens) {
    variables_[name] = make_string(&budget_, token, true);
  }
  variables_["add_generation_prompt"] = Value::boolean(false);
  variables_["documents"] = Value::none();
  Value continued = Value::boolean(false);
  if (!variables.is_none()) {
    if (!variables.is(Kind::kDict)) reject("variables must be an object");
    for (const auto& [key, value] : variables.as_dict().entries()) {
      const std::string name(key.as_string().view());
      if (name == "messages" || name == "tools" || name == "conversation") {
        reject("'" + name + "' cannot be given as a variable");
      }
      if (name == "continue_final_message") {
        continued = value;
      } else {
        variables_[name] = value;
      }
    }
  }
  if (!variables_["documents"].is_none()) require_objects(variables_["documents"], "documents");
  std::vector<Value> prepared;
  for (const Value& given : messages.as_sequence().items) prepared.push_back(message(given));
  if (is_true(continued)) {
    if (is_true(variables_["add_generation_prompt"])) {
      reject("continue_final_message and add_generation_prompt are not compatible");
    }
    continue_message(prepared, continued, source);
  }
  variables_["messages"] = make_list(&budget_, std::move(prepared));
  variables_["tools"] = tools;
}

// Without its null fields, and with its reasoning under the names that templates read.
Value PreparedChat::message(const Value& given) const {
  Entries entries;
  const Value* reasoning = nullptr;
  for (const auto field : kReasoningFields) {
    if (reasoning == nullptr && !is_missing_or_none(field_of(given, field))) {
      reasoning = field_of(given, field);
    }
  }
  if (reasoning != nullptr) {
    entries.emplace_back(make_string(&budget_, "thinking", false), *reasoning);
  }
  for (const auto& [key, value] : given.as_dict().entries()) {
    budget_.step();
    if (value.is_none()) continue;
    const bool is_role = key.is_string() && key.as_string().view() == "role" && value.is_string() &&
                         is_known_role(value.as_string().view());
    entries.emplace_back(
        key, is_role ? make_string(&budget_, std::string(value.as_string().view()), true) : value);
  }
  if (reasoning != nullptr) {
    entries.emplace_back(make_string(&budget_, "reasoning_content", false), *reasoning);
  }
  return jinja::make_value<DictObject>(Kind::kDict, &budget_, std::move(entries));
}

Value PreparedChat::tagged(const Value& text) const {
  if (!text.is_string()) reject("the final message to continue is no text");
  jinja::TextBuilder out(budget_);
  out.append(text.as_string().text());
  out.append(kTag, false);
  return make_string(&budget_, out.take());
}

// Tags the last block of a content list that has text.
Value PreparedChat::tag_last_text(const Value& blocks) {
  std::vector<Value> items = blocks.as_sequence().items;
  for (auto block = items.rbegin(); block != items.rend(); ++block) {
    if (!block->is(Kind::kDict)) continue;
    const Value* text = field_of(*block, "text");
    if (text == nullptr) continue;
    if (text->is_string()) final_text_ = text->as_string().view();
    Entries entries = block->as_dict().entries();
    set_entry(entries, make_string(&budget_, "text", false), tagged(*text));
    *block = jinja::make_value<DictObject>(Kind::kDict, &budget_, std::move(entries));
    return make_list(&budget_, std::move(items));
  }
  reject("continue_final_message is set but the final message has no text to continue");
}

void PreparedChat::continue_message(std::vector<Value>& messages, const Value& field,
                                    std::string_view source) {
  const std::string name =
      field.is_string() ? std::string(field.as_string().view()) : std::string("content");
  Entries entries = messages.back().as_dict().entries();
  const Value* found = field_of(messages.back(), name);
  if (is_missing_or_none(found)) {
    reject(fmt::format("continue_final_message is set but the final message has no \"{}\"",
                       printable(name)));
  }
  const Value final_message = *found;
  std::vector<std::string> fields = {name};
  if (std::find(kReasoningFields.begin(), kReasoningFields.end(), name) != kReasoningFields.end()) {
    fields.clear();
    for (const auto other : kReasoningFields) {
      const Value* copy = field_of(messages.back(), other);
      if (copy != nullptr && same_value(*copy, final_message)) fields.emplace_back(other);
    }
  }
  const bool known = std::any_of(fields.begin(), fields.end(), [&](const std::string& candidate) {
    return source.find(candidate) != std::string_view::npos;
  });
  if (!known) {
    reject(
        fmt::format("continue_final_message: the template has no field \"{}\"", printable(name)));
  }
  if (final_message.is(Kind::kList)) {
    set_entry(entries, make_string(&budget_, name, false), tag_last_text(final_message));
  } else {
    const Value tagged_message = tagged(final_message);
    final_text_ = final_message.as_string().view();
    for (const auto& other : fields) {
      set_entry(entries, make_string(&budget_, other, false), tagged_message);
    }
  }
  messages.back() = jinja::make_value<DictObject>(Kind::kDict, &budget_, std::move(entries));
  continues_ = true;
}

Text PreparedChat::finish(Text rendered) const {
  if (!continues_) return rendered;
  const std::string& bytes = rendered.bytes;
  const std::string_view mark = strip_spaces(kTag);
  const std::size_t at = jinja::rfind_bytes(bytes, mark, std::string_view::npos);
  const bool has_message =
      jinja::find_bytes(bytes, strip_spaces(final_text_)) != std::string_view::npos;
  if (at == std::string_view::npos || !has_message) {
    reject(
        "continue_final_message is set but the final message does not appear in the chat after "
        "applying the chat template");
  }
  std::size_t end = at;
  if (std::string_view(bytes).substr(at, kTag.size()) != kTag) {
    // The template trims the message, so the space before the tag is not the message's own either.
    std::string_view kept = std::string_view(bytes).substr(0, at);
    while (!kept.empty()) {
      const std::size_t last = jinja::previous_code_point(kept, kept.size());
      if (!jinja::is_space(jinja::code_point_at(kept, last).code)) break;
      kept = kept.substr(0, last);
    }
    end = kept.size();
  }
  return slice_text(rendered, 0, end);
}

}  // namespace sampan
