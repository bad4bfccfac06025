#include <fmt/core.h>

#include <algorithm>

#include "serve/api/openai.h"

namespace sampan {
namespace {

struct CompletionForm {
  std::string id = new_id("cmpl-");
  std::int64_t created = unix_seconds();
  StreamOptions stream;
  int choices = 1;
  bool echo = false;
  int logprobs = -1;
  int prompt_logprobs = -1;
  bool token_ids = false;
  bool tokens_as_ids = false;
  std::string fingerprint;
  std::vector<std::string> texts;  // of the prompts that came as text, else ""
};

std::size_t characters(const std::string& bytes) {
  return static_cast<std::size_t>(
      std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// logprobs as text completions have them: four lists side by side. text_offset counts characters
// of the choice's text.
class LegacyLogprobs {
 public:
  LegacyLogprobs(int alternatives, bool as_ids)
      : alternatives_(static_cast<std::size_t>(std::max(alternatives, 0))), as_ids_(as_ids) {}

  // Characters of tokens that the text does not show (a BOS that the tokenizer added).
  void skip(std::size_t count) { skipped_ = count; }

  Json take(const std::vector<ScoredToken>& tokens, const TokenBytes& bytes_of) {
    Json names = Json::array(), values = Json::array(), tops = Json::array(),
         offsets = Json::array();
    for (const ScoredToken& token : tokens) {
      const std::string bytes = bytes_of(token.id);
      names.push_back(token_name(token.id, bytes, as_ids_, true));
      offsets.push_back(position_ - std::min(position_, skipped_));
      position_ += characters(bytes);
      if (token.rank == 0) {  // the prompt's first
        values.push_back(nullptr);
        tops.push_back(nullptr);
        continue;
      }
      values.push_back(json_logprob(token.logprob));
      tops.push_back(top_of(token, bytes_of));
    }
    return {{"tokens", std::move(names)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

 private:
  // The alternatives and the token itself. Of several with one text the likeliest counts.
  Json top_of(const ScoredToken& token, const TokenBytes& bytes_of) const {
    Json top = Json::object();
    const auto add = [&](std::int32_t id, float logprob) {
      std::string name = token_name(id, bytes_of(id), as_ids_, true);
      if (!top.contains(name)) top[std::move(name)] = json_logprob(logprob);
    };
    for (std::size_t i = 0; i < std::min(alternatives_, token.top.size()); ++i)
      add(token.top[i].id, token.top[i].logprob);
    add(token.id, token.logprob);
    return top;
  }

  std::size_t alternatives_;
  bool as_ids_;
  std::size_t position_ = 0, skipped_ = 0;
};

std::string joined_bytes(const PromptInfo& info) {
  std::string text;
  for (const std::int32_t id : info.ids) text += info.token_bytes(id);
  return text;
}

std::string prompt_text(const CompletionForm& form, std::size_t part, const PromptInfo& info) {
  return form.texts[part].empty() ? repaired_utf8(joined_bytes(info)) : form.texts[part];
}

std::size_t unseen_characters(const CompletionForm& form, std::size_t part,
                              const PromptInfo& info) {
  const std::string& text = form.texts[part];
  if (text.empty()) return 0;
  const std::string joined = joined_bytes(info);
  if (!joined.ends_with(text)) return 0;
  return characters(joined.substr(0, joined.size() - text.size()));
}

Json choice_json(int index, std::string text) {
  return {{"text", std::move(text)},
          {"index", index},
          {"logprobs", nullptr},
          {"finish_reason", nullptr}};
}

void put_end(const AnswerEnd& end, Json& choice) {
  choice["finish_reason"] = finish_reason(end.reason);
  if (end.stop_sequence) {
    choice["stop_reason"] = *end.stop_sequence;
  } else if (end.stop_token) {
    choice["stop_reason"] = *end.stop_token;
  }
}

Json whole_choice(const CompletionForm& form, std::size_t part, int index, const Answer& answer) {
  const ChoiceAnswer& given = answer.choices[static_cast<std::size_t>(index)];
  Json choice = choice_json(static_cast<int>(part) * form.choices + index,
                            (form.echo ? prompt_text(form, part, answer.prompt) : "") + given.text);
  put_end(given.end, choice);
  if (form.logprobs >= 0) {
    LegacyLogprobs logprobs(form.logprobs, form.tokens_as_ids);
    std::vector<ScoredToken> tokens;
    if (form.echo) {
      logprobs.skip(unseen_characters(form, part, answer.prompt));
      tokens = answer.report.tokens;
    }
    tokens.insert(tokens.end(), given.tokens.begin(), given.tokens.end());
    choice["logprobs"] = logprobs.take(tokens, answer.prompt.token_bytes);
  }
  if (form.prompt_logprobs >= 0)
    choice["prompt_logprobs"] =
        prompt_logprobs_json(answer.report.tokens, static_cast<std::size_t>(form.prompt_logprobs),
                             answer.prompt.token_bytes);
  if (form.token_ids) {
    choice["prompt_token_ids"] = ids_json(answer.prompt.ids);
    choice["token_ids"] = token_ids_json(given.tokens);
  }
  return choice;
}

Json whole_reply(const CompletionForm& form, const std::vector<Answer>& answers,
                 const Usage& usage) {
  Json choices = Json::array();
  for (std::size_t part = 0; part < answers.size(); ++part) {
    for (int i = 0; i < form.choices; ++i)
      choices.push_back(whole_choice(form, part, i, answers[part]));
  }
  return {{"id", form.id},
          {"object", "text_completion"},
          {"created", form.created},
          {"model", answers[0].prompt.model},
          {"choices", std::move(choices)},
          {"usage", usage_json(usage)},
          {"system_fingerprint", form.fingerprint}};
}

class CompletionStream : public StreamWriter {
 public:
  CompletionStream(const Call& call, CompletionForm form, std::size_t parts)
      : StreamWriter(call, "text/event-stream; charset=utf-8", ": ping\n\n"),
        form_(std::move(form)),
        parts_(parts) {
    for (Part& part : parts_)
      part.logprobs.assign(static_cast<std::size_t>(form_.choices),
                           LegacyLogprobs(form_.logprobs, form_.tokens_as_ids));
  }

  void start(int part, const PromptInfo& info) override {
    at(part).info = info;
    so_far_.prompt_tokens += static_cast<std::int64_t>(info.ids.size());
    StreamWriter::start(part, info);
  }
  void prompt(int index, const PromptReport& report) override {
    so_far_.cached_tokens += report.cached_tokens;
    if (!form_.echo) return;
    Part& part = at(index);
    for (int i = 0; i < form_.choices; ++i) echo(index, i, report);
    part.has_prompt = true;
    for (const auto& write : part.held) write();
    part.held.clear();
  }
  void delta(int part, const AnswerDelta& delta) override {
    when_echoed(part, [this, part, delta] { write_delta(part, delta); });
  }
  void answer_end(int part, const AnswerEnd& end) override {
    when_echoed(part, [this, part, end] { write_end(part, end); });
  }
  void end(const Usage& usage) override {
    if (form_.stream.include_usage) {
      Json chunk = chunk_json(Json::array());
      chunk["usage"] = usage_json(usage);
      write(sse_event(chunk));
    }
    write("data: [DONE]\n\n");
    finish();
  }

 protected:
  void begin(const PromptInfo& info) override { model_ = info.model; }
  void write_error(const ApiError& error) override {
    write(sse_event(error_object(call_.dialect, error, call_.request().request_id)));
    write("data: [DONE]\n\n");
  }

 private:
  struct Part {
    PromptInfo info;
    bool has_prompt = false;
    std::vector<std::function<void()>> held;  // what must come after the prompt's echo
    std::vector<LegacyLogprobs> logprobs;     // of each choice
  };

  Part& at(int part) { return parts_.at(static_cast<std::size_t>(part)); }
  int choice_index(int part, int choice) const { return part * form_.choices + choice; }

  // Another choice can be ahead of the one that reports the prompt.
  template <typename Write>
  void when_echoed(int part, Write write_it) {
    if (form_.echo && !at(part).has_prompt) {
      at(part).held.emplace_back(std::move(write_it));
    } else {
      write_it();
    }
  }
  void echo(int index, int choice_number, const PromptReport& report) {
    Part& part = at(index);
    const auto number = static_cast<std::size_t>(index);
    Json choice =
        choice_json(choice_index(index, choice_number), prompt_text(form_, number, part.info));
    if (form_.logprobs >= 0) {
      LegacyLogprobs& logprobs = part.logprobs.at(static_cast<std::size_t>(choice_number));
      logprobs.skip(unseen_characters(form_, number, part.info));
      choice["logprobs"] = logprobs.take(report.tokens, part.info.token_bytes);
    }
    send(std::move(choice));
  }
  void write_delta(int index, const AnswerDelta& delta) {
    Part& part = at(index);
    so_far_.completion_tokens += static_cast<std::int64_t>(delta.tokens.size());
    if (delta.text.empty() && !(form_.logprobs >= 0 || form_.token_ids)) return;
    Json choice = choice_json(choice_index(index, delta.choice), delta.text);
    if (form_.logprobs >= 0)
      choice["logprobs"] = part.logprobs.at(static_cast<std::size_t>(delta.choice))
                               .take(delta.tokens, part.info.token_bytes);
    if (form_.token_ids) choice["token_ids"] = token_ids_json(delta.tokens);
    send(std::move(choice));
  }
  void write_end(int index, const AnswerEnd& end) {
    Json choice = choice_json(choice_index(index, end.choice), "");
    put_end(end, choice);
    if (form_.token_ids) choice["prompt_token_ids"] = ids_json(at(index).info.ids);
    send(std::move(choice));
  }
  Json chunk_json(Json choices) const {
    Json chunk = {{"id", form_.id},
                  {"object", "text_completion"},
                  {"created", form_.created},
                  {"model", model_},
                  {"system_fingerprint", form_.fingerprint},
                  {"choices", std::move(choices)}};
    if (form_.stream.include_usage) chunk["usage"] = nullptr;
    if (form_.stream.continuous_usage) chunk["usage"] = usage_json(so_far_);
    return chunk;
  }
  void send(Json choice) {
    const Json chunk = chunk_json(Json::array({std::move(choice)}));
    write(form_.stream.obfuscation ? padded_event(chunk) : sse_event(chunk));
  }

  const CompletionForm form_;
  std::vector<Part> parts_;
  std::string model_;
  Usage so_far_;
};

CompletionForm completion_form(const Call& call, const Body& body,
                               const InferenceRequest& request) {
  CompletionForm form;
  form.stream = stream_options(body);
  form.choices = request.choices;
  form.echo = body.boolean("echo").value_or(false);
  form.logprobs = static_cast<int>(body.integer("logprobs").value_or(-1));
  form.prompt_logprobs = request.prompt_logprobs;
  form.token_ids = body.boolean("return_token_ids").value_or(false);
  form.tokens_as_ids = body.boolean("return_tokens_as_token_ids").value_or(false);
  form.fingerprint = "sampan-" + call.api.options.version;
  if (const auto best_of = body.integer("best_of"); best_of && *best_of != request.choices)
    throw ApiError(400, "'best_of' other than 'n' is not supported.", "best_of",
                   "unsupported_parameter");
  return form;
}

}  // namespace

void openai_completions(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  InferenceRequest common = openai_request(call, body);
  CompletionForm form = completion_form(call, body, common);
  common.max_tokens = body.integer("max_tokens").value_or(16);
  check_min_tokens(body, common);
  common.split_reasoning = false;
  common.logprobs = form.logprobs;
  if (form.echo) common.prompt_logprobs = std::max(common.prompt_logprobs, form.logprobs);
  common.id = form.id;

  std::vector<InferenceRequest> requests;
  std::vector<TextInput> inputs = text_inputs(body, "prompt");
  if (inputs.size() * static_cast<std::size_t>(common.choices) > kMaxTexts) {
    body.refuse("prompt", fmt::format("'prompt' has {} entries and 'n' is {}: that is more than {} "
                                      "texts in one request.",
                                      inputs.size(), common.choices, kMaxTexts));
  }
  for (TextInput& input : inputs) {
    InferenceRequest request = common;
    form.texts.emplace_back();
    if (auto* const text = std::get_if<TextPrompt>(&input)) {
      text->add_special_tokens = body.boolean("add_special_tokens").value_or(true);
      form.texts.back() = text->text;
    }
    std::visit([&](auto& prompt) { request.prompt = std::move(prompt); }, input);
    requests.push_back(std::move(request));
  }
  const std::size_t parts = requests.size();
  const int choices = common.choices;
  std::unique_ptr<AnswerWriter> writer;
  if (form.stream.is_stream) {
    writer = std::make_unique<CompletionStream>(call, std::move(form), parts);
  } else {
    writer = collect_answers(
        call, parts, choices,
        [form = std::move(form)](const std::vector<Answer>& answers, const Usage& usage) {
          return whole_reply(form, answers, usage);
        });
  }
  start_answers(call, std::move(requests), std::move(writer));
}

}  // namespace sampan
