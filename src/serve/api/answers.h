#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/api/route.h"

namespace sampan {

// How a dialect writes the answers of one call down: whole or as a stream. part: which of the
// call's requests (lists of prompts are several). Calls come one at a time; end or error is the
// last.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual bool is_stream() const { return false; }
  virtual void start(int part, const PromptInfo& info) = 0;
  virtual void prompt(int part, const PromptReport& report) = 0;
  virtual void delta(int part, const AnswerDelta& delta) = 0;
  virtual void answer_end(int part, const AnswerEnd& end) = 0;
  // All parts are done; the counts are of all together.
  virtual void end(const Usage& usage) = 0;
  virtual void error(const ApiError& error) = 0;
};

// The one way of all dialects to the engine: starts the requests, has metrics watch them, and
// cancels them all when the client goes or one of them fails. What is to happen between the
// engine's text and the dialects (calls of tools told apart from text) belongs in here, as a sink
// before the writer.
void start_answers(const Call& call, std::vector<InferenceRequest> requests,
                   std::unique_ptr<AnswerWriter> writer);

// An answer as a whole.
struct ChoiceAnswer {
  std::string text, reasoning;
  std::vector<ScoredToken> tokens;
  AnswerEnd end;
};
struct Answer {
  PromptInfo prompt;
  PromptReport report;
  std::vector<ChoiceAnswer> choices;
};

// Collects the answers and responds with what `render` makes of them, errors in the call's dialect.
using RenderAnswers = std::function<Json(const std::vector<Answer>& answers, const Usage& usage)>;
std::unique_ptr<AnswerWriter> collect_answers(const Call& call, std::size_t parts, int choices,
                                              RenderAnswers render);

// The common beginning of a stream's writer: status 200 and the headers, once, with the first part
// that starts; an error before that is a response of its own.
class StreamWriter : public AnswerWriter {
 public:
  StreamWriter(const Call& call, std::string content_type, std::string heartbeat);

  bool is_stream() const override { return true; }
  void start(int part, const PromptInfo& info) override;
  void prompt(int, const PromptReport&) override {}
  void error(const ApiError& error) override;

 protected:
  // The first event; after it the others may follow.
  virtual void begin(const PromptInfo& info) = 0;
  // An error in the middle, as an event; the stream ends after it.
  virtual void write_error(const ApiError& error) = 0;

  void write(std::string bytes) { call_.exchange->write(std::move(bytes)); }
  void finish() { call_.exchange->finish(); }

  const Call call_;

 private:
  std::string content_type_, heartbeat_;
  bool is_started_ = false;
};

}  // namespace sampan
