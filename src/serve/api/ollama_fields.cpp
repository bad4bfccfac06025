#include "serve/api/ollama.h"

namespace sampan {
namespace {

using Type = Field::Type;
using Status = Field::Status;


const FieldTable kOptions = {
    {.name = "temperature", .type = Type::kNumber, .min = 0, .max = 100, .fallback = kModelsOwn},
    {.name = "top_k",
     .type = Type::kInteger,
     .min = -1,
     .max = kMaxInt32,
     .fallback = kModelsOwn,
     .note = "0 or -1: all"},
    {.name = "top_p", .type = Type::kNumber, .min = 0, .max = 1, .fallback = kModelsOwn},
    {.name = "min_p", .type = Type::kNumber, .min = 0, .max = 1, .fallback = "0"},
    {.name = "repeat_penalty",
     .type = Type::kNumber,
     .min = 0.01,
     .max = 100,
     .fallback = kModelsOwn,
     .note = "counts the whole text, not the last repeat_last_n tokens"},
    {.name = "presence_penalty", .type = Type::kNumber, .min = -100, .max = 100, .fallback = "0"},
    {.name = "frequency_penalty", .type = Type::kNumber, .min = -100, .max = 100, .fallback = "0"},
    {.name = "seed", .type = Type::kInteger, .fallback = "drawn", .note = "below 0: drawn"},
    {.name = "num_predict",
     .type = Type::kInteger,
     .min = -2,
     .fallback = "-1",
     .note = "0 and below: what the context leaves"},
    {.name = "stop", .type = Type::kStrings, .max = 64, .fallback = "none"},
    {.name = "typical_p", .status = Status::kRefused, .neutral = "1|1.0"},
    {.name = "tfs_z", .status = Status::kRefused, .neutral = "1|1.0"},
    {.name = "mirostat", .status = Status::kRefused, .neutral = "0"},
    {.name = "mirostat_eta", .status = Status::kIgnored},
    {.name = "mirostat_tau", .status = Status::kIgnored},
    {.name = "repeat_last_n", .status = Status::kIgnored},
    {.name = "penalize_newline", .status = Status::kIgnored},
    {.name = "num_ctx",
     .status = Status::kIgnored,
     .note = "the context is the model's and the server's"},
    {.name = "num_keep", .status = Status::kIgnored, .note = "no context is ever shifted"},
    {.name = "num_batch", .status = Status::kIgnored},
    {.name = "num_gpu", .status = Status::kIgnored},
    {.name = "main_gpu", .status = Status::kIgnored},
    {.name = "num_thread", .status = Status::kIgnored},
    {.name = "low_vram", .status = Status::kIgnored},
    {.name = "use_mmap", .status = Status::kIgnored},
    {.name = "use_mlock", .status = Status::kIgnored},
    {.name = "numa", .status = Status::kIgnored},
};

const FieldTable kOllamaMessage = {
    {.name = "role",
     .type = Type::kString,
     .is_required = true,
     .values = "system|user|assistant|tool"},
    {.name = "content", .type = Type::kString, .note = "special tokens in it are text"},
    {.name = "thinking", .type = Type::kString},
    {.name = "tool_calls", .type = Type::kArray, .note = "{function {name, arguments}}"},
    {.name = "tool_name", .type = Type::kString},
    {.name = "tool_call_id", .type = Type::kString},
    {.name = "images", .status = Status::kRefused, .note = "text only"},
};

FieldTable answer_fields() {
  return {
      {.name = "model", .type = Type::kString, .is_required = true},
      {.name = "stream", .type = Type::kBool, .fallback = "true", .note = "lines of JSON"},
      {.name = "options", .type = Type::kObject, .members = &kOptions},
      {.name = "keep_alive",
       .fallback = "the server's",
       .note = "seconds or \"5m\"; 0 unloads, below 0 keeps for ever; holds until a request says "
               "otherwise"},
      {.name = "think",
       .fallback = "the template's",
       .note = "true, false, or low, medium, high: template variables enable_thinking, thinking, "
               "reasoning_effort"},
      {.name = "logprobs", .type = Type::kBool, .fallback = "false"},
      {.name = "top_logprobs", .type = Type::kInteger, .min = 0, .max = 20, .fallback = "0"},
      {.name = "format", .status = Status::kNotThere, .note = "constrained output"},
      {.name = "truncate",
       .status = Status::kIgnored,
       .note = "a prompt over the context is an error"},
      {.name = "shift", .status = Status::kIgnored, .note = "no context is ever shifted"},
  };
}

}  // namespace

const FieldTable& ollama_message_fields() { return kOllamaMessage; }

const FieldTable& ollama_generate_fields() {
  static const FieldTable own = {
      {.name = "prompt",
       .type = Type::kString,
       .fallback = "\"\": the model is loaded, or unloaded with keep_alive 0"},
      {.name = "system", .type = Type::kString},
      {.name = "raw",
       .type = Type::kBool,
       .fallback = "false",
       .note = "no template; special tokens in the prompt are parsed"},
      {.name = "template",
       .type = Type::kString,
       .status = Status::kRefused,
       .note = "templates come with the model, never by request"},
      {.name = "suffix",
       .status = Status::kRefused,
       .note = "write the model's fill-in-the-middle tokens into a raw prompt"},
      {.name = "context", .status = Status::kRefused, .note = "deprecated: send the conversation"},
      {.name = "images", .status = Status::kRefused, .note = "text only"},
  };
  static const FieldTable table = answer_fields() + own;
  return table;
}

const FieldTable& ollama_chat_fields() {
  static const FieldTable own = {
      {.name = "messages",
       .type = Type::kArray,
       .fallback = "[]: the model is loaded, or unloaded with keep_alive 0",
       .members = &kOllamaMessage},
      {.name = "tools",
       .type = Type::kArray,
       .max = 1024,
       .note = "shown to the model by its template; calls arrive as text: telling them apart is "
               "not there yet"},
  };
  static const FieldTable table = answer_fields() + own;
  return table;
}

const FieldTable& ollama_embed_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .is_required = true},
      {.name = "input", .type = Type::kStrings, .is_required = true, .max = 2048},
      {.name = "truncate",
       .type = Type::kBool,
       .fallback = "true",
       .note = "false: a text over the context is an error"},
      {.name = "dimensions",
       .type = Type::kInteger,
       .min = 1,
       .fallback = "the model's",
       .note = "cuts and normalises again"},
      {.name = "keep_alive", .fallback = "the server's"},
      {.name = "options", .type = Type::kObject, .status = Status::kIgnored},
  };
  return table;
}

const FieldTable& ollama_embeddings_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .is_required = true},
      {.name = "prompt", .type = Type::kString, .is_required = true},
      {.name = "keep_alive", .fallback = "the server's"},
      {.name = "options", .type = Type::kObject, .status = Status::kIgnored},
  };
  return table;
}

const FieldTable& ollama_show_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .note = "or name"},
      {.name = "name", .type = Type::kString, .note = "the older word for model"},
      {.name = "verbose", .type = Type::kBool, .status = Status::kIgnored},
      {.name = "system", .type = Type::kString, .status = Status::kIgnored},
      {.name = "template", .type = Type::kString, .status = Status::kIgnored},
      {.name = "options", .status = Status::kIgnored},
  };
  return table;
}

}  // namespace sampan
