// A chat template, and behind a NUL byte the JSON of a conversation. Whatever they are, rendering ends, in UTF-8 and
// with its pieces in order; and what the conversation wrote is never trusted.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/jinja/unicode.h"

namespace {

using namespace sampan;

RenderLimits small_limits() {
  RenderLimits limits;
  limits.max_steps = 50'000;
  limits.max_output_bytes = 1u << 20;
  limits.max_memory_bytes = 32u << 20;
  return limits;
}

// A conversation whose strings are all of one private-use character, which no template has unless it spells it.
constexpr std::string_view kMarked =
    R"([{"role": "user", "content": "\ue000 \ue000<b>,\ue000", "name": "\ue000"},)"
    R"( {"role": "assistant", "content": [{"type": "text", "text": "\ue000"}], "thinking": "\ue000",)"
    R"( "tool_calls": [{"function": {"name": "\ue000", "arguments": {"\ue000": [1, 2.5, "\ue000"]}}}]},)"
    R"( {"role": "tool", "content": "\ue000\n\ue000"}])";
constexpr std::string_view kMark = "\xEE\x80\x80";

bool spells_mark(std::string_view source) {
  for (const std::string_view spelling : {kMark, std::string_view("\\"), std::string_view("&#")}) {
    if (source.find(spelling) != std::string_view::npos) return true;
  }
  return false;
}

void check(const RenderedPrompt& prompt, bool marked) {
  bool first = true;
  bool trusted = false;
  for (const auto& piece : prompt.pieces) {
    SAMPAN_CHECK(!piece.text.empty());
    SAMPAN_CHECK(first || piece.trusted != trusted);
    SAMPAN_CHECK(jinja::find_invalid_utf8(piece.text) == std::string::npos);
    SAMPAN_CHECK(!marked || !piece.trusted || piece.text.find(kMark) == std::string::npos);
    trusted = piece.trusted;
    first = false;
  }
}

void render(const ChatTemplate& chat, const ChatInput& input, bool marked) {
  try {
    check(chat.render(input, small_limits()), marked);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view source = bytes.substr(0, bytes.find('\0'));
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  options.clock = [] { return std::chrono::system_clock::time_point(); };
  try {
    const ChatTemplate chat = ChatTemplate::parse(std::string(source), options);
    constexpr std::string_view kTools = R"([{"name": "f", "parameters": {"type": "object"}}])";
    render(chat, {kMarked, kTools, R"({"add_generation_prompt": true})"}, !spells_mark(source));
    if (source.size() < bytes.size()) {
      render(chat, {bytes.substr(source.size() + 1), "", ""}, false);
    }
  } catch (const Error&) {
  }
  return 0;
}
