#include <fmt/core.h>

#include "serve/api/anthropic.h"

namespace sampan {
namespace {

[[noreturn]] void refuse_block(const std::string& where, const std::string& message) {
  throw ApiError(400, where + ": " + message, where, "invalid_value");
}

std::string type_of(const Json& block, const std::string& where) {
  if (!block.is_object() || !block.contains("type") || !block["type"].is_string())
    refuse_block(where, "a block must be an object with a type");
  return block["type"].get<std::string>();
}

std::string text_of(const Json& block, const char* key, const std::string& where) {
  const auto found = block.find(key);
  if (found == block.end() || !found->is_string())
    refuse_block(where, fmt::format("'{}' must be a string", key));
  return found->get<std::string>();
}

// A document that is plain text.
std::string document_text(const Json& block, const std::string& where) {
  const auto source = block.find("source");
  if (source == block.end() || !source->is_object() || !source->contains("type") ||
      (*source)["type"] != "text")
    refuse_block(where, "documents other than plain text are not supported");
  return text_of(*source, "data", where);
}

void append_line(std::string& text, const std::string& more) {
  if (!text.empty()) text += '\n';
  text += more;
}

// A string, or text blocks joined by line breaks.
std::string plain_text(const Json& content, const std::string& where) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse_block(where, "must be a string or an array of blocks");
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string at = fmt::format("{}.{}", where, i);
    const std::string type = type_of(content[i], at);
    if (type == "text") {
      append_line(text, text_of(content[i], "text", at));
    } else if (type == "document") {
      append_line(text, document_text(content[i], at));
    } else {
      refuse_block(at, fmt::format("blocks of type \"{}\" are not supported", printable(type)));
    }
  }
  return text;
}

// Writes one message after the other, turns of the same speaker joined.
class Conversation {
 public:
  void add_text(const std::string& role, const std::string& text) {
    Json* const last = last_of(role);
    if (last == nullptr) {
      messages_.push_back({{"role", role}, {"content", text}});
      return;
    }
    append_line((*last)["content"].get_ref<std::string&>(), text);
  }
  void add_reasoning(const std::string& text) {
    Json& message = assistant();
    if (!message.contains("reasoning_content")) message["reasoning_content"] = "";
    append_line(message["reasoning_content"].get_ref<std::string&>(), text);
  }
  void add_call(const Json& block, const std::string& where) {
    Json call = {{"type", "function"},
                 {"function",
                  {{"name", text_of(block, "name", where)},
                   {"arguments", block.contains("input") ? block["input"] : Json::object()}}},
                 {"id", text_of(block, "id", where)}};
    Json& message = assistant();
    if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
    message["tool_calls"].push_back(std::move(call));
  }
  void add_result(const Json& block, const std::string& where) {
    const auto content = block.find("content");
    messages_.push_back({{"role", "tool"},
                         {"content", content == block.end() ? "" : plain_text(*content, where)},
                         {"tool_call_id", text_of(block, "tool_use_id", where)}});
  }
  bool ends_with_assistant() const {
    return !messages_.empty() && messages_.back()["role"] == "assistant" &&
           !messages_.back().contains("tool_calls");
  }
  const Json& messages() const { return messages_; }

 private:
  // The last message, if it is this speaker's.
  Json* last_of(const std::string& role) {
    return !messages_.empty() && messages_.back()["role"] == role ? &messages_.back() : nullptr;
  }
  Json& assistant() {
    if (last_of("assistant") == nullptr)
      messages_.push_back({{"role", "assistant"}, {"content", ""}});
    return messages_.back();
  }

  Json messages_ = Json::array();
};

void add_block(const Json& block, const std::string& role, const std::string& where,
               Conversation& conversation) {
  const std::string type = type_of(block, where);
  const bool is_user = role == "user";
  if (type == "text") {
    conversation.add_text(role, text_of(block, "text", where));
  } else if (type == "document" && is_user) {
    conversation.add_text(role, document_text(block, where));
  } else if (type == "tool_result" && is_user) {
    conversation.add_result(block, where);
  } else if (type == "tool_use" && !is_user) {
    conversation.add_call(block, where);
  } else if (type == "thinking" && !is_user) {
    conversation.add_reasoning(text_of(block, "thinking", where));
  } else if (type == "redacted_thinking" && !is_user) {
    // Another model's, and nobody here can read it.
  } else {
    refuse_block(where, fmt::format("blocks of type \"{}\" are not supported in messages of the {}",
                              printable(type), role));
  }
}

Json openai_tools(const Json& tools) {
  Json result = Json::array();
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const Json& tool = tools[i];
    const std::string where = fmt::format("tools.{}", i);
    if (!tool.is_object()) refuse_block(where, "must be an object");
    if (const auto type = tool.find("type");
        type != tool.end() && !type->is_null() && *type != "custom")
      refuse_block(where + ".type", "tools that Anthropic runs are not supported");
    Json function = {{"name", text_of(tool, "name", where)}};
    if (const auto text = tool.find("description"); text != tool.end())
      function["description"] = *text;
    if (const auto schema = tool.find("input_schema"); schema != tool.end())
      function["parameters"] = *schema;
    result.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return result;
}

// As for OpenAI's: "none" is kept by not showing the tools.
bool shows_anthropic_tools(const Body& body) {
  const Json* const choice = body.find("tool_choice");
  if (choice == nullptr) return true;
  const auto type = choice->find("type");
  if (type != choice->end() && (*type == "auto" || *type == "none")) return *type == "auto";
  throw ApiError(400, "tool_choice: other types than auto and none are not supported yet",
                 "tool_choice", "unsupported_parameter");
}

Json anthropic_variables(const Body& body) {
  Json variables = Json::object();
  bool thinks = false;
  if (const auto thinking = body.object("thinking")) {
    const std::string type = *thinking->string("type");
    thinks = type != "disabled";
    if (type == "enabled" && !thinking->integer("budget_tokens"))
      thinking->refuse("budget_tokens", "thinking.budget_tokens: needed where type is enabled");
  }
  if (const auto output = body.object("output_config")) {
    if (const auto effort = output->string("effort")) variables["reasoning_effort"] = *effort;
  }
  variables["enable_thinking"] = thinks;
  variables["thinking"] = thinks;
  return variables;
}

}  // namespace

ChatPrompt anthropic_prompt(const Body& body) {
  Conversation conversation;
  // An empty one is none: templates have a default for that.
  if (const Json* const system = body.find("system")) {
    const std::string text = plain_text(*system, "system");
    if (!text.empty()) conversation.add_text("system", text);
  }
  const Json& messages = *body.find("messages");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages.{}", i);
    const Body message(messages[i], anthropic_message_fields(), nullptr, where + ".");
    const std::string role = *message.string("role");
    const Json& content = *message.find("content");
    if (content.is_string()) {
      conversation.add_text(role, content.get<std::string>());
      continue;
    }
    if (!content.is_array()) refuse_block(where + ".content", "must be a string or an array of blocks");
    for (std::size_t j = 0; j < content.size(); ++j)
      add_block(content[j], role, fmt::format("{}.content.{}", where, j), conversation);
  }
  if (conversation.messages().empty()) refuse_block("messages", "there is nothing in them");

  ChatPrompt prompt;
  prompt.messages = dump(conversation.messages());
  const bool shows = shows_anthropic_tools(body);
  if (const Json* const tools = body.find("tools"); tools != nullptr && !tools->empty()) {
    const Json shown = openai_tools(*tools);
    if (shows) prompt.tools = dump(shown);
  }
  prompt.variables = dump(anthropic_variables(body));
  prompt.continue_final_message = conversation.ends_with_assistant();
  prompt.add_generation_prompt = !prompt.continue_final_message;
  return prompt;
}

}  // namespace sampan
