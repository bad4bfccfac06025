#include "text/chat_template.h"

#include "base/error.h"
#include "text/chat_template_input.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"
#include "text/jinja/unicode.h"

namespace sampan {
namespace {

using jinja::Text;
using jinja::Value;

constexpr std::size_t kMaxMessageBytes = 2000;  // of an error message

Value parse_optional(jinja::Budget& budget, std::string_view json, const char* name) {
  if (json.empty()) return Value::none();
  return jinja::parse_json(&budget, json, false, name);
}

std::vector<RenderedPiece> split_pieces(const Text& text, bool trust_all) {
  std::vector<RenderedPiece> pieces;
  if (text.bytes.empty()) return pieces;
  if (trust_all) return {{text.bytes, true}};
  bool trusted = text.provenance.first();
  std::size_t begin = 0;
  const auto add = [&](std::size_t end) {
    pieces.push_back({text.bytes.substr(begin, end - begin), trusted});
    trusted = !trusted;
    begin = end;
  };
  for (const std::size_t flip : text.provenance.flips()) add(flip);
  add(text.bytes.size());
  return pieces;
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  jinja::TemplateTree tree;
  ChatTemplateOptions options;
};

std::string RenderedPrompt::text() const {
  std::string out;
  for (const auto& piece : pieces) out += piece.text;
  return out;
}

ChatTemplate ChatTemplate::parse(std::string source, ChatTemplateOptions options) {
  const std::size_t bad = jinja::find_invalid_utf8(source);
  if (bad != std::string::npos) {
    fail(ErrorCode::kInvalidData, "chat template: byte {} of {} is not UTF-8", bad, source.size());
  }
  for (const auto& [name, token] : options.special_tokens) {
    if (jinja::find_invalid_utf8(token) != std::string::npos) {
      fail(ErrorCode::kInvalidData, "chat template: {} is not UTF-8", printable(name));
    }
  }
  if (!options.clock) options.clock = [] { return std::chrono::system_clock::now(); };
  auto state = std::make_shared<State>();
  try {
    state->tree = jinja::parse_template(source);
  } catch (const Error& error) {
    throw Error(error.code(), "chat template: " + printable(error.what(), kMaxMessageBytes));
  }
  state->source = std::move(source);
  state->options = std::move(options);
  return ChatTemplate(std::move(state));
}

const std::string& ChatTemplate::source() const { return state_->source; }

RenderedPrompt ChatTemplate::render(const ChatInput& input, const RenderLimits& limits) const {
  // The values are counted by a budget of their own, so that they may outlive the rendering's.
  jinja::Budget budget(limits);
  const Value messages = parse_optional(budget, input.messages, "messages");
  const Value tools = parse_optional(budget, input.tools, "tools");
  const Value variables = parse_optional(budget, input.variables, "variables");
  return render(messages, tools, variables, limits);
}

RenderedPrompt ChatTemplate::render(const Value& messages, const Value& tools,
                                    const Value& variables, const RenderLimits& limits) const {
  const ChatTemplateOptions& options = state_->options;
  jinja::Budget budget(limits);
  PreparedChat chat(budget, messages, tools, variables, options.special_tokens, state_->source);
  jinja::Interpreter interpreter(budget, state_->tree, chat.take_variables(), options.clock);
  RenderedPrompt prompt;
  try {
    const Text text = chat.finish(interpreter.run());
    prompt.pieces = split_pieces(text, options.trust_conversation);
    prompt.generation_spans = interpreter.generation_spans();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("chat template: line {}: {}", interpreter.line(),
                                          printable(error.what(), kMaxMessageBytes)));
  }
  return prompt;
}

std::string variable_json(std::string_view text) {
  try {
    jinja::parse_json(nullptr, text, false, "variable");
    return std::string(text);
  } catch (const Error&) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out.push_back('\\');
      if (static_cast<unsigned char>(c) < 0x20) {
        out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out.push_back(c);
      }
    }
    return out + "\"";
  }
}

}  // namespace sampan
