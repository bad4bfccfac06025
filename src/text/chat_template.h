#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/budget.h"
#include "text/jinja/value.h"

namespace sampan {

// A part of a rendered prompt. Trusted: written by the template (its text, its string literals, the
// tokenizer's special tokens), so that special tokens in it count. Not trusted: whatever arrived in
// messages, tools and variables, and all that is derived from it, in which special tokens are plain
// text.
struct RenderedPiece {
  std::string text;
  bool trusted = false;
};

struct RenderedPrompt {
  std::vector<RenderedPiece> pieces;  // alternately trusted and not, none empty
  // [begin, end) byte ranges of text() that {% generation %} blocks wrote, in the order in which
  // they ran. As in transformers, a block inside a macro counts from where the prompt stood when
  // the macro was called.
  std::vector<std::pair<std::size_t, std::size_t>> generation_spans;

  std::string text() const;
};

using RenderLimits = jinja::Limits;

struct ChatTemplateOptions {
  // Variables of every rendering, such as "bos_token" -> "<s>". Trusted. A rendering's variables of
  // the same name win.
  std::map<std::string, std::string> special_tokens;
  // What strftime_now tells, as local time; unset: the system's clock.
  std::function<std::chrono::system_clock::time_point()> clock;
  // transformers' behaviour: all of the prompt is trusted, so whoever writes a special token into a
  // message forges it.
  bool trust_conversation = false;
};

// What a prompt is made of, as JSON texts. Integers keep all their digits, floats are printed as
// Python prints them. A lone surrogate escape (\ud800) is an error, since no tokenizer takes one.
struct ChatInput {
  std::string_view messages;   // an array of objects, not empty
  std::string_view tools;      // an array of objects; empty or "null": none
  std::string_view variables;  // an object; empty or "null": none
};

// A chat template of a published model, in Jinja. Renders byte for byte what transformers 5's
// apply_chat_template does, and throws where it raises, its preparation of the input included:
// - keys of a message that are null are dropped;
// - reasoning given as reasoning_content, thinking or reasoning is available as the first two;
// - add_generation_prompt is false and tools and documents are None unless given;
// - the variable continue_final_message (true, or the name of a field) leaves the last message
// open. One exception serves safety: a role that is a common role's name is trusted, so that
// templates which build their special tokens from it ('<|' + role + '|>') work. Immutable and
// thread-safe.
class ChatTemplate {
 public:
  // Throws Error kInvalidData "chat template: line N: …" for a syntax error, kUnsupported for what
  // the interpreter leaves out, kLimit for a template too large or too deep.
  static ChatTemplate parse(std::string source, ChatTemplateOptions options = {});

  // Throws Error kInvalidData for what is no JSON; kInvalidArgument "chat template: line N: …" for
  // what the template or transformers rejects (raise_exception's message included), kLimit when a
  // limit is exceeded, kUnsupported.
  RenderedPrompt render(const ChatInput& input, const RenderLimits& limits = {}) const;
  // The same for values; tools and variables may be None.
  RenderedPrompt render(const jinja::Value& messages, const jinja::Value& tools,
                        const jinja::Value& variables, const RenderLimits& limits = {}) const;

  const std::string& source() const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// The templates that come with a model: one, or several by name ("default", "tool_use", "rag").
struct ChatTemplates {
  std::vector<std::pair<std::string, std::string>> sources;  // name, template
  // A single template without a name, which serves for everything.
  bool single = false;
  std::map<std::string, std::string> special_tokens;

  // The source that transformers picks: the named one; else with tools "tool_use"; else "default".
  // Throws Error kNotFound where there is none.
  const std::string& choose(bool with_tools, std::string_view name = {}) const;
};

// Reads chat_template.jinja, additional_chat_templates/*.jinja, tokenizer_config.json and
// special_tokens_map.json of a model's folder, with transformers' precedence: files win over
// tokenizer_config.json's chat_template. `sources` is empty where the model has no template. Throws
// Error kInvalidData, kIo, kPermission, kLimit naming the file.
ChatTemplates load_chat_templates(const std::filesystem::path& folder);

// From a GGUF file's metadata: tokenizer.chat_template, the tokenizer.chat_template.NAME by name,
// special tokens by their transformers name ("bos_token").
ChatTemplates chat_templates_from_strings(std::string default_template,
                                          std::vector<std::pair<std::string, std::string>> named,
                                          std::map<std::string, std::string> special_tokens);

// A variable given on a command line (name=text): JSON where the text is JSON, else a JSON string
// of it. The result serves as a value in ChatInput::variables.
std::string variable_json(std::string_view text);

}  // namespace sampan
