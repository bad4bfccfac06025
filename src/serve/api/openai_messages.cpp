#include <fmt/core.h>

#include "serve/api/openai.h"

namespace sampan {
namespace {

[[noreturn]] void refuse_message(const std::string& param, const std::string& message) {
  throw ApiError(400, message, param, "invalid_value");
}

// The text of a message: a string, or the text parts of an array.
std::string content_text(const Json& content, const std::string& param) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    refuse_message(param, fmt::format("'{}' must be a string or an array of text parts.", param));
  std::string text;
  bool is_first = true;
  for (const Json& part : content) {
    const Json* const type = part.is_object() && part.contains("type") ? &part["type"] : nullptr;
    if (type == nullptr || !type->is_string())
      refuse_message(param, fmt::format("'{}': each part must be an object with a type.", param));
    const char* const key = *type == "refusal" ? "refusal" : "text";
    if (*type != "text" && *type != "refusal") {
      refuse_message(param, fmt::format("'{}': parts of type \"{}\" are not supported; only text is.",
                                param, printable(type->get_ref<const std::string&>())));
    }
    const auto found = part.find(key);
    if (found == part.end() || !found->is_string())
      refuse_message(param,
             fmt::format("'{}': a part of type {} must have a string '{}'.", param, key, key));
    if (!is_first) text += '\n';
    is_first = false;
    text += found->get_ref<const std::string&>();
  }
  return text;
}

// Templates iterate over arguments; clients send them as a string of JSON.
Json call_arguments(const Json& arguments) {
  if (!arguments.is_string()) return arguments;
  try {
    Json parsed = parse_json(arguments.get_ref<const std::string&>());
    if (parsed.is_object()) return parsed;
  } catch (const ApiError&) {
    // The model once wrote it so: it is shown as it was.
  }
  return arguments;
}

Json tool_calls(const Json& calls, const std::string& param) {
  Json result = Json::array();
  for (const Json& call : calls) {
    const auto function = call.is_object() ? call.find("function") : call.end();
    if (!call.is_object() || function == call.end() || !function->is_object() ||
        !function->contains("name") || !(*function)["name"].is_string())
      refuse_message(param, fmt::format("'{}': each call must be {{\"id\", \"type\": \"function\", "
                                "\"function\": {{\"name\", \"arguments\"}}}}.",
                                param));
    Json one = {
        {"type", "function"},
        {"function",
         {{"name", (*function)["name"]},
          {"arguments", function->contains("arguments") ? call_arguments((*function)["arguments"])
                                                        : Json::object()}}}};
    if (call.contains("id") && call["id"].is_string()) one["id"] = call["id"];
    result.push_back(std::move(one));
  }
  return result;
}

Json template_message(const Json& given, const std::string& name, bool knows_developer,
                      std::vector<std::string>* ignored) {
  const Body body(given, message_fields(), ignored, name + ".");
  std::string role = *body.string("role");
  if (role == "developer" && !knows_developer) role = "system";
  if (role == "function") role = "tool";
  Json message = {{"role", role}};
  const Json* const content = body.find("content");
  const Json* const calls = body.find("tool_calls");
  if (content == nullptr && role != "assistant")
    refuse_message(body.param("content"),
           fmt::format("Missing required parameter: '{}'.", body.param("content")));
  message["content"] = content == nullptr ? "" : content_text(*content, body.param("content"));
  if (const auto text = body.string("name")) message["name"] = *text;
  if (const auto id = body.string("tool_call_id")) message["tool_call_id"] = *id;
  if (calls != nullptr) {
    if (role != "assistant")
      refuse_message(body.param("tool_calls"), "Only messages of the assistant have tool_calls.");
    if (!calls->empty()) message["tool_calls"] = tool_calls(*calls, body.param("tool_calls"));
  }
  auto reasoning = body.string("reasoning_content");
  if (!reasoning) reasoning = body.string("reasoning");
  if (reasoning) message["reasoning_content"] = *reasoning;
  return message;
}

void check_tools(const Json& tools) {
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const std::string name = fmt::format("tools[{}]", i);
    const Json& tool = tools[i];
    if (!tool.is_object()) refuse_message(name, fmt::format("'{}' must be an object.", name));
    const auto type = tool.find("type");
    if (type == tool.end() || *type != "function")
      refuse_message(name + ".type", fmt::format("'{}.type' must be \"function\".", name));
    const auto function = tool.find("function");
    if (function == tool.end() || !function->is_object() || !function->contains("name") ||
        !(*function)["name"].is_string())
      refuse_message(name + ".function", fmt::format("'{}.function' must be an object with a name.", name));
  }
}

// Whether the model may call tools. Until calls are told apart from text, "none" can only be kept
// by not showing the tools.
bool shows_openai_tools(const Body& body) {
  const Json* const choice = body.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return true;
  if (*choice == "none") return false;
  throw ApiError(400, "'tool_choice' other than auto and none is not supported yet.", "tool_choice",
                 "unsupported_parameter");
}

void read_thinking(const Body& body, Json& variables) {
  std::optional<bool> thinks;
  if (const auto effort = body.string("reasoning_effort")) {
    variables["reasoning_effort"] = *effort;
    thinks = *effort != "none";
  }
  if (const auto thinking = body.object("thinking"))
    thinks = *thinking->string("type") != "disabled";
  if (!thinks) return;
  variables["enable_thinking"] = *thinks;
  variables["thinking"] = *thinks;
}

// What the template is told beside the messages. The server's own variables cannot be set.
Json openai_variables(const Body& body) {
  Json variables = Json::object();
  read_thinking(body, variables);
  if (const Json* const documents = body.find("documents")) variables["documents"] = *documents;
  const Json* const given = body.find("chat_template_kwargs");
  if (given == nullptr) return variables;
  if (given->size() > 64)
    body.refuse("chat_template_kwargs", "'chat_template_kwargs' has more than 64 members.");
  for (const auto& [name, value] : given->items()) {
    for (const char* const own : {"messages", "tools", "add_generation_prompt",
                                  "continue_final_message", "chat_template", "tokenize"}) {
      if (name == own)
        body.refuse("chat_template_kwargs",
                    fmt::format("'chat_template_kwargs' cannot set {}.", own));
    }
    variables[name] = value;
  }
  return variables;
}

}  // namespace

bool knows_developer(const Call& call, const std::string& model) {
  return call.api.service.model(model).chat_template.find("developer") != std::string::npos;
}

Json template_messages(const Json& messages, bool knows, std::vector<std::string>* ignored) {
  Json result = Json::array();
  for (std::size_t i = 0; i < messages.size(); ++i)
    result.push_back(template_message(messages[i], fmt::format("messages[{}]", i), knows, ignored));
  return result;
}

ChatPrompt openai_chat_prompt(Call& call, const Body& body) {
  const Json& messages = *body.find("messages");
  bool has_developer = false;
  for (const Json& message : messages) {
    has_developer = has_developer || (message.is_object() && message.contains("role") &&
                                      message["role"] == "developer");
  }
  ChatPrompt prompt;
  const bool knows = has_developer && knows_developer(call, body.string("model").value_or(""));
  prompt.messages = dump(template_messages(messages, knows, &call.ignored));
  const bool shows = shows_openai_tools(body);
  if (const Json* const tools = body.find("tools")) {
    check_tools(*tools);
    if (shows && !tools->empty()) prompt.tools = dump(*tools);
  }
  prompt.variables = dump(openai_variables(body));
  prompt.add_generation_prompt = body.boolean("add_generation_prompt").value_or(true);
  prompt.continue_final_message = body.boolean("continue_final_message").value_or(false);
  if (prompt.continue_final_message && body.boolean("add_generation_prompt").value_or(false))
    body.refuse("continue_final_message",
                "'continue_final_message' and 'add_generation_prompt' exclude each other.");
  if (prompt.continue_final_message) prompt.add_generation_prompt = false;
  return prompt;
}

}  // namespace sampan
