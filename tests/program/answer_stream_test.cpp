#include "answer_stream.h"

#include <gtest/gtest.h>

namespace sampan {
namespace {

// Streams `text` in pieces of every size from 1 up; what is shown must not depend on it. Reasoning is shown in brackets.
struct Shown {
  std::string text, raw;
  bool stopped = false;
};

Shown stream(const std::string& text, std::size_t piece, std::vector<std::string> stops, bool in_reasoning) {
  Shown shown;
  bool inside = false;
  AnswerStream answer(std::move(stops), in_reasoning, [&](std::string_view part, bool reasoning) {
    if (reasoning != inside) shown.text += reasoning ? "[" : "]";
    inside = reasoning;
    shown.text += part;
  });
  for (std::size_t i = 0; i < text.size() && !shown.stopped; i += piece) shown.stopped = !answer.append(text.substr(i, piece));
  if (!shown.stopped) answer.finish();
  shown.raw = answer.raw();
  return shown;
}

void expect(const std::string& text, std::vector<std::string> stops, bool in_reasoning, const std::string& shown, const std::string& raw) {
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    const Shown result = stream(text, piece, stops, in_reasoning);
    EXPECT_EQ(result.text, shown) << "pieces of " << piece;
    EXPECT_EQ(result.raw, raw) << "pieces of " << piece;
  }
}

TEST(AnswerStream, PlainTextPasses) { expect("a < b and <thin>", {}, false, "a < b and <thin>", "a < b and <thin>"); }

TEST(AnswerStream, ReasoningIsToldFromTheAnswer) {
  expect("<think>hm</think>yes", {}, false, "[hm]yes", "<think>hm</think>yes");
  expect("hm</think>yes", {}, true, "[hm]yes", "hm</think>yes");
  expect("x<think>unfinished</thin", {}, false, "x[unfinished</thin", "x<think>unfinished</thin");
}

TEST(AnswerStream, NothingOfAStopStringIsShown) {
  expect("one STOP two", {"STOP"}, false, "one ", "one ");
  expect("one STO", {"STOP"}, false, "one STO", "one STO");
  expect("aab", {"ab"}, false, "a", "a");
  expect("one, two; three", {";", ","}, false, "one", "one");
  expect("text", {""}, false, "text", "text");
}

TEST(AnswerStream, AStopStringMayLieInReasoning) { expect("<think>hm END</think>", {"END"}, false, "[hm ", "<think>hm "); }

}  // namespace
}  // namespace sampan
