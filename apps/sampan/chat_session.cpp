#include "chat_session.h"

#include <algorithm>

#include "base/clock.h"
#include "text/answer_stream.h"
#include "base/error.h"
#include "models/rope.h"

namespace sampan {
namespace {

// True when the prompt ends within a <think> that the template opened.
bool ends_in_reasoning(std::string_view prompt) {
  const std::size_t open = prompt.rfind("<think>");
  if (open == std::string_view::npos) return false;
  return prompt.find_first_not_of(" \n", open + 7) == std::string_view::npos;
}

}  // namespace

ChatSession::ChatSession(const Model& model, const ModelText& text, std::vector<std::int32_t> stop_ids, DType kv_dtype,
                         const SpeculationOptions& speculation, ThreadPool& pool)
    : model_(model),
      text_(text),
      stop_ids_(std::move(stop_ids)),
      runner_(model, pool),
      sequence_(model, kv_dtype),
      decoder_(runner_, sequence_, make_drafter(runner_), speculation) {}

void ChatSession::set_system(const std::string& text) {
  if (!messages_.empty() && messages_[0]["role"] == "system") messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), nlohmann::ordered_json{{"role", "system"}, {"content", text}});
}

void ChatSession::clear() {
  const bool has_system = !messages_.empty() && messages_[0]["role"] == "system";
  messages_.erase(messages_.begin() + (has_system ? 1 : 0), messages_.end());
}

ChatSession::Prompt ChatSession::render() const {
  Prompt prompt;
  if (!text_.chat_template) {
    std::string plain;
    for (const auto& message : messages_) plain += message["content"].get<std::string>();
    prompt.ids = text_.tokenizer->encode(plain, SpecialTokens::kParse);
    if (text_.tokenizer->adds_bos() && text_.tokenizer->bos_id()) prompt.ids.insert(prompt.ids.begin(), *text_.tokenizer->bos_id());
    return prompt;
  }
  nlohmann::ordered_json variables = options_.variables;
  variables["add_generation_prompt"] = true;
  const std::string messages = messages_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const std::string variables_json = variables.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const RenderedPrompt rendered = text_.chat_template->render({messages, "", variables_json});
  std::vector<TextPiece> pieces;
  for (const RenderedPiece& piece : rendered.pieces) pieces.push_back({piece.text, piece.trusted || options_.trust_conversation});
  prompt.ids = text_.tokenizer->encode(pieces);
  prompt.opens_reasoning = ends_in_reasoning(rendered.text());
  return prompt;
}

void ChatSession::read_prompt(const std::vector<std::int32_t>& ids, AnswerStats& stats) {
  const auto length = static_cast<std::int64_t>(ids.size());
  const std::int64_t context = model_.config().context_length;
  if (length >= context) {
    fail(ErrorCode::kLimit, "the conversation has {} tokens, the model's context {}; /clear starts a new one", length, context);
  }
  const auto difference = std::mismatch(sequence_.ids.begin(), sequence_.ids.end(), ids.begin(), ids.end());
  auto kept = static_cast<std::int64_t>(difference.second - ids.begin());
  kept = std::min(kept, length - 1);  // the last token's logits are needed
  const RopeConfig& rope = model_.config().rope;
  if (rope_depends_on_length(rope) && length > rope.original_context) kept = 0;
  const auto start = Clock::now();
  stats.prompt_tokens = decoder_.read(ids, kept);
  stats.cached_tokens = length - stats.prompt_tokens;
  stats.prefill_seconds = seconds_since(start);
}

std::string ChatSession::write_answer(const Prompt& prompt, const std::function<bool()>& interrupted, const OnText& on_text,
                                      AnswerStats& stats) {
  const Sampler sampler(options_.sampling);
  StreamDecoder decoder(text_.tokenizer, /*skip_special=*/true);
  AnswerForm form;
  form.stops = options_.stop_strings;
  form.in_reasoning = prompt.opens_reasoning;
  AnswerStream answer(std::move(form), on_text);
  const std::int64_t room = model_.config().context_length - static_cast<std::int64_t>(prompt.ids.size());
  const std::int64_t limit = options_.max_tokens > 0 ? std::min(options_.max_tokens, room) : room;
  const SpeculationStats before = decoder_.stats();
  decoder_.begin(sampler, prompt.ids, limit);
  auto start = Clock::now();
  while (true) {
    if (stats.generated_tokens == 1) start = Clock::now();
    const std::int32_t id = decoder_.next();
    stats.generated_tokens += 1;
    if (std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end()) break;
    if (!answer.append(decoder.append(id))) break;
    stats.was_interrupted = interrupted();
    stats.reached_limit = stats.generated_tokens >= limit;
    if (stats.was_interrupted || stats.reached_limit) break;
  }
  stats.decode_seconds = seconds_since(start);
  stats.speculation = decoder_.stats() - before;
  answer.append(decoder.flush());
  answer.finish();
  return answer.raw();
}

AnswerStats ChatSession::ask(const std::string& user, const std::function<bool()>& interrupted, const OnText& on_text) {
  AnswerStats stats;
  messages_.push_back(nlohmann::ordered_json{{"role", "user"}, {"content", user}});
  try {
    const Prompt prompt = render();
    runner_.set_interrupt(interrupted);
    read_prompt(prompt.ids, stats);
    const std::string answer = write_answer(prompt, interrupted, on_text, stats);
    messages_.push_back(nlohmann::ordered_json{{"role", "assistant"}, {"content", answer}});
  } catch (...) {
    messages_.erase(messages_.end() - 1);
    throw;
  }
  return stats;
}

}  // namespace sampan
