#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/generation.h"
#include "engine/sampling_overrides.h"

namespace sampan {

// A model that is served could not be loaded. what() is for the operator: it names files.
class LoadError : public Error {
 public:
  LoadError(std::string model, const std::string& why)
      : Error(ErrorCode::kInvalidData, why), model_(std::move(model)) {}
  const std::string& model() const { return model_; }

 private:
  std::string model_;
};

// Who asks, as the server knows it (never as the request says).
struct Caller {
  std::string key_id;  // "" where no keys are set
};

// A conversation, as JSON texts for the model's chat template (text/chat_template.h). What messages
// and tools say is never parsed for special tokens.
struct ChatPrompt {
  std::string messages;   // array of {"role", "content", …}
  std::string tools;      // array in OpenAI's form, or ""
  std::string variables;  // object: enable_thinking …, or ""
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};
// A text as it is; the tokenizer's own BOS is added where the model wants one.
struct TextPrompt {
  std::string text;
  bool add_special_tokens = true;
  bool parse_special_tokens = true;  // else they are plain text
};
struct TokenPrompt {
  std::vector<std::int32_t> ids;
};

// One request, whatever the API that it came by.
struct InferenceRequest {
  std::string id;     // for logs, traces and replies: "chatcmpl-…"
  std::string model;  // name of a served model; "" = the only or default one
  std::variant<ChatPrompt, TextPrompt, TokenPrompt> prompt;
  SamplingOverrides sampling;
  std::optional<std::int64_t> max_tokens;  // nothing: what the context leaves
  std::int64_t min_tokens = 0;
  std::vector<std::string> stop;             // texts that end the answer and are not part of it
  std::vector<std::int32_t> stop_token_ids;  // besides the model's own
  bool ignore_eos = false;
  bool include_stop = false;  // the stop text stays in the answer
  bool skip_special_tokens = true;
  bool split_reasoning =
      true;           // <think>…</think> is told apart from the answer; else it stays in the text
  int choices = 1;    // n: the first draws with the seed itself, the others with seeds made of it
  int logprobs = -1;  // alternatives a token; -1: none
  int prompt_logprobs = -1;
  int priority = 0;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();
  Caller caller;
};

// How an answer ended, for all dialects to name in their own words.
enum class StopReason : std::uint8_t {
  kEnd,           // the model ended its turn
  kStopSequence,  // a stop text or one of the request's stop_token_ids
  kLength,        // max_tokens or the context
};

// Known when the prompt is rendered, tokenized and queued, before anything is computed.
struct PromptInfo {
  std::string model;  // resolved name
  std::vector<std::int32_t> ids;
  std::int64_t context_length = 0;
  bool opens_reasoning = false;  // the template has opened a <think> that the answer begins in
  // A token's bytes, which may be a part of a character. Works as long as it is kept.
  std::function<std::string(std::int32_t id)> token_bytes = nullptr;
};

// A piece of an answer. Text is whole UTF-8 characters; the pieces of a choice joined are the
// answer. Tokens are reported with the piece in which they were drawn, also where their text is
// held back for a while (tokens without text: text is empty).
struct AnswerDelta {
  int choice = 0;
  bool is_reasoning = false;
  std::string text;
  std::vector<ScoredToken> tokens;
};

struct AnswerEnd {
  int choice = 0;
  StopReason reason = StopReason::kEnd;
  std::optional<std::string> stop_sequence;  // the stop text that was met
  std::optional<std::int32_t> stop_token;    // the request's stop_token_ids that was met
  GenerationStats stats;
};

struct Usage {
  std::int64_t prompt_tokens = 0;      // counted once, whatever the number of choices
  std::int64_t cached_tokens = 0;      // of them
  std::int64_t completion_tokens = 0;  // of all choices; a stop id counts
  std::int64_t reasoning_tokens = 0;   // of them
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0, load_seconds = 0;
};

// Where the answer goes. Calls of one request never overlap, come from the engine's or the caller's
// thread and must not block. on_end or on_error is the last, once; neither comes after cancel().
class InferenceSink {
 public:
  virtual ~InferenceSink() = default;
  virtual void on_start(const PromptInfo& info) = 0;
  virtual void on_prompt(const PromptReport& report) = 0;  // the prompt was read: cached tokens,
                                                           // its log-probabilities if asked for
  virtual void on_delta(const AnswerDelta& delta) = 0;
  virtual void on_answer_end(const AnswerEnd& end) = 0;
  virtual void on_end(const Usage& usage) = 0;
  virtual void on_error(const Error& error) = 0;
};

// One of the requests of a call, and where its answer goes.
struct InferencePart {
  InferenceRequest request;
  std::shared_ptr<InferenceSink> sink;
};

// A running call. Letting go of it does not end it.
class Inference {
 public:
  virtual ~Inference() = default;
  virtual void cancel() = 0;  // at once; idempotent
};

// A text that gives one vector, or the logits of some ids after it (a reranker's yes and no).
struct PoolingRequest {
  std::string model;
  std::variant<TextPrompt, TokenPrompt> prompt;
  Pooling pooling = Pooling::kNone;
  std::vector<std::int32_t> probe_ids;
  std::optional<std::int64_t> truncate_tokens;  // cuts a longer text
  Caller caller;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};
struct PoolingResult {
  std::vector<float> embedding;
  std::vector<float> probe_logits;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
};

// What is served under a name.
struct ServedModelInfo {
  std::string name;
  std::string family;         // "qwen3"
  std::string description;    // one line for people
  std::string quantization;   // "Q4_0", "BF16", …
  std::string format;         // "gguf", "safetensors"
  // Of model() only, as its tokenizer says; "" = none.
  std::string chat_template, bos_token, eos_token;
  std::int64_t vocabulary = 0;  // one more than the largest id; of model() only
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;  // of the weights' files
  std::int64_t context_length = 0;
  std::int64_t embedding_length = 0;
  std::int64_t created = 0;  // Unix seconds of the file
  std::string digest;        // "sha256:…" or "" where it is not known
  bool is_loaded = false;
  std::optional<std::chrono::system_clock::time_point> unloads_at;
  std::int64_t loaded_bytes = 0;
};

// The models of this process behind one door, for every API alike. Thread-safe. Errors: Error
// kNotFound for an unknown model, kLimit for a prompt over the context ("This model's maximum
// context length is N tokens. However, …"), OverloadedError, kInvalidArgument for what cannot be
// (naming it).
class InferenceService {
 public:
  virtual ~InferenceService() = default;

  virtual std::vector<ServedModelInfo> models() const = 0;
  virtual ServedModelInfo model(const std::string& name) const = 0;
  // The name of the served model that `name` (an alias, "" for the default) asks for; nothing where
  // there is none. Cheap.
  virtual std::optional<std::string> served_name(const std::string& name) const = 0;

  // Renders, tokenizes and queues on the calling thread (loading the model first if need be: then
  // it returns at once and the rest happens later). parts: at least one, all for the first one's
  // model. They are queued all together, so that they cannot meet the queue's limit by themselves;
  // where one of them cannot be, none is, and each sink is told why. Errors go to the sinks,
  // whether they come now or later.
  virtual std::shared_ptr<Inference> start_all(std::vector<InferencePart> parts) = 0;
  std::shared_ptr<Inference> start(InferenceRequest request, std::shared_ptr<InferenceSink> sink) {
    std::vector<InferencePart> one;
    one.push_back({std::move(request), std::move(sink)});
    return start_all(std::move(one));
  }

  // done is called once, with a result for each request in order or an error.
  using PoolingDone = std::function<void(std::vector<PoolingResult> results, const Error* error)>;
  virtual std::shared_ptr<Inference> pool(std::vector<PoolingRequest> requests,
                                          PoolingDone done) = 0;

  // The ids of a prompt as start() would make them; nothing is computed.
  virtual PromptInfo tokenize(const std::string& model,
                              const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) = 0;
  virtual std::string detokenize(const std::string& model, const std::vector<std::int32_t>& ids,
                                 bool skip_special) = 0;
  // A token's bytes; may be a part of a character.
  virtual std::string token_bytes(const std::string& model, std::int32_t id) = 0;
  virtual std::optional<std::int32_t> token_id(const std::string& model,
                                               const std::string& token) = 0;

  // Keeps a loaded model for that long after its last use (negative: for ever; zero: unload when
  // idle; models() says at once that an idle one is not loaded). Loads it if asked to.
  virtual void keep_alive(const std::string& model, std::chrono::milliseconds duration,
                          bool load) = 0;
};

}  // namespace sampan
