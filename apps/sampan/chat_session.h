#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/speculation.h"
#include "text/model_text.h"
#include "models/model.h"

namespace sampan {

// What one answer cost.
struct AnswerStats {
  std::int64_t prompt_tokens = 0;    // read now
  std::int64_t cached_tokens = 0;    // of the prompt, kept from before
  std::int64_t generated_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;  // of all steps after the first token
  SpeculationStats speculation;
  bool reached_limit = false;
  bool was_interrupted = false;
};

// A conversation with one model: renders it with the model's template, reads only what is new, streams the answer. Models without
// a template continue plain text.
class ChatSession {
 public:
  struct Options {
    SamplingParams sampling;
    std::int64_t max_tokens = 0;           // 0 = until the context is full
    std::vector<std::string> stop_strings;
    nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // for the template: enable_thinking …
    bool trust_conversation = false;       // special tokens in messages are parsed, as transformers does
  };
  // Text of the answer as it becomes certain; reasoning tells whether it lies between <think> and </think>.
  using OnText = std::function<void(std::string_view text, bool reasoning)>;

  ChatSession(const Model& model, const ModelText& text, std::vector<std::int32_t> stop_ids, DType kv_dtype,
              const SpeculationOptions& speculation, ThreadPool& pool);

  Options& options() { return options_; }
  const nlohmann::ordered_json& messages() const { return messages_; }
  const SpeculativeDecoder& decoder() const { return decoder_; }
  void set_system(const std::string& text);  // empty removes it
  void clear();                              // keeps the system message

  // Appends a user message, generates and appends the answer. Stops early when interrupted() says so, keeping what there is. An Error
  // leaves the conversation as it was.
  AnswerStats ask(const std::string& user, const std::function<bool()>& interrupted, const OnText& on_text);

 private:
  struct Prompt {
    std::vector<std::int32_t> ids;
    bool opens_reasoning = false;  // it ends within an open <think>
  };
  Prompt render() const;
  void read_prompt(const std::vector<std::int32_t>& ids, AnswerStats& stats);
  std::string write_answer(const Prompt& prompt, const std::function<bool()>& interrupted, const OnText& on_text, AnswerStats& stats);

  const Model& model_;
  const ModelText& text_;
  std::vector<std::int32_t> stop_ids_;
  Runner runner_;
  Sequence sequence_;
  SpeculativeDecoder decoder_;
  Options options_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
};

}  // namespace sampan
