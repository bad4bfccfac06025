#include "serve/api/anthropic.h"

namespace sampan {
namespace {

using Type = Field::Type;
using Status = Field::Status;

const FieldTable kThinking = {
    {.name = "type",
     .type = Type::kString,
     .is_required = true,
     .values = "enabled|disabled|adaptive"},
    {.name = "budget_tokens",
     .type = Type::kInteger,
     .min = 1024,
     .note = "needed with enabled, less than max_tokens; holding the model to it is not there yet"},
    {.name = "display", .type = Type::kString, .status = Status::kIgnored},
};

const FieldTable kOutputConfig = {
    {.name = "effort",
     .type = Type::kString,
     .note = "the template's variable reasoning_effort",
     .values = "low|medium|high|xhigh|max"},
    {.name = "format", .status = Status::kNotThere, .note = "constrained output"},
};

const FieldTable kAnthropicMessage = {
    {.name = "role", .type = Type::kString, .is_required = true, .values = "user|assistant"},
    {.name = "content",
     .is_required = true,
     .note = "a string or blocks: text, thinking, tool_use, tool_result, document with a text "
             "source; images and other documents are refused; special tokens in it are text"},
};

const FieldTable& prompt_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .fallback = "the first model that is served"},
      {.name = "messages",
       .type = Type::kArray,
       .is_required = true,
       .min = 1,
       .note = "a last one of the assistant is continued",
       .members = &kAnthropicMessage},
      {.name = "system", .note = "a string or text blocks"},
      {.name = "tools",
       .type = Type::kArray,
       .max = 1024,
       .note = "shown to the model by its template; calls arrive as text: telling them apart is "
               "not there yet; tools that Anthropic runs are refused"},
      {.name = "tool_choice",
       .type = Type::kObject,
       .fallback = "{\"type\": \"auto\"}",
       .note = "auto or none (no tools are shown then); any and tool: not there yet"},
      {.name = "thinking",
       .type = Type::kObject,
       .fallback = "disabled",
       .note = "template variables enable_thinking and thinking",
       .members = &kThinking},
      {.name = "output_config", .type = Type::kObject, .members = &kOutputConfig},
      {.name = "output_format", .status = Status::kNotThere, .note = "constrained output"},
      {.name = "mcp_servers", .status = Status::kRefused},
      {.name = "container", .status = Status::kRefused},
      {.name = "context_management",
       .status = Status::kIgnored,
       .note = "nothing is cut from the conversation"},
      {.name = "cache_control",
       .status = Status::kIgnored,
       .note = "shared prefixes are found by themselves"},
  };
  return table;
}

}  // namespace

const FieldTable& anthropic_message_fields() { return kAnthropicMessage; }

const FieldTable& anthropic_fields() {
  static const FieldTable own = {
      {.name = "max_tokens",
       .type = Type::kInteger,
       .is_required = true,
       .min = 1,
       .note = "thinking included; cut to what the context leaves"},
      {.name = "stream", .type = Type::kBool, .fallback = "false", .note = "named events"},
      {.name = "stop_sequences", .type = Type::kStrings, .max = 64, .fallback = "none"},
      {.name = "temperature",
       .type = Type::kNumber,
       .min = 0,
       .max = 1,
       .fallback = "the model's generation_config.json"},
      {.name = "top_p",
       .type = Type::kNumber,
       .min = 0,
       .max = 1,
       .fallback = "the model's generation_config.json"},
      {.name = "top_k",
       .type = Type::kInteger,
       .min = 0,
       .max = 2147483647,
       .fallback = "the model's generation_config.json"},
      {.name = "seed",
       .type = Type::kInteger,
       .fallback = "drawn",
       .note = "not Anthropic's own: the same request and seed give the same answer to the bit"},
      {.name = "metadata", .status = Status::kIgnored, .note = "the key tells who asks"},
      {.name = "service_tier", .status = Status::kIgnored},
      {.name = "inference_geo", .status = Status::kIgnored},
      {.name = "speed", .status = Status::kIgnored},
      {.name = "diagnostics", .status = Status::kIgnored},
      {.name = "user_profile_id", .status = Status::kIgnored},
      {.name = "workspace_id", .status = Status::kIgnored},
      {.name = "betas", .status = Status::kIgnored},
  };
  static const FieldTable table = prompt_fields() + own;
  return table;
}

const FieldTable& anthropic_count_fields() { return prompt_fields(); }

}  // namespace sampan
