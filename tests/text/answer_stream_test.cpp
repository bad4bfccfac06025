#include "text/answer_stream.h"

#include <gtest/gtest.h>

namespace sampan {
namespace {

// Streams `text` in pieces of every size from 1 up; what is shown must not depend on it. Reasoning
// is shown in brackets.
struct Shown {
  std::string text, raw;
  bool stopped = false;
};

Shown stream(const std::string& text, std::size_t piece, const AnswerForm& form) {
  Shown shown;
  bool inside = false;
  AnswerStream answer(form, [&](std::string_view part, bool reasoning) {
    if (reasoning != inside) shown.text += reasoning ? "[" : "]";
    inside = reasoning;
    shown.text += part;
  });
  for (std::size_t i = 0; i < text.size() && !shown.stopped; i += piece)
    shown.stopped = !answer.append(text.substr(i, piece));
  if (!shown.stopped) answer.finish();
  shown.raw = answer.raw();
  return shown;
}

void expect(const std::string& text, const AnswerForm& form, const std::string& shown,
            const std::string& raw) {
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    const Shown result = stream(text, piece, form);
    EXPECT_EQ(result.text, shown) << "pieces of " << piece;
    EXPECT_EQ(result.raw, raw) << "pieces of " << piece;
  }
}

AnswerForm stops_at(std::vector<std::string> stops) {
  AnswerForm form;
  form.stops = std::move(stops);
  return form;
}

TEST(AnswerStream, PlainTextPasses) {
  expect("a < b and <thin>", {}, "a < b and <thin>", "a < b and <thin>");
  expect("  \n", {}, "  \n", "  \n");
  expect("<thin", {}, "<thin", "<thin");
}

TEST(AnswerStream, ReasoningIsToldFromTheAnswer) {
  expect("<think>hm</think>yes", {}, "[hm]yes", "<think>hm</think>yes");
  expect(" <think>hm</think>yes", {}, " [hm]yes", " <think>hm</think>yes");
  AnswerForm opened;
  opened.in_reasoning = true;
  expect("hm</think>yes", opened, "[hm]yes", "hm</think>yes");
  expect("unfinished</thin", opened, "[unfinished</thin", "unfinished</thin");
}

TEST(AnswerStream, TagsWithinTheAnswerAreText) {
  expect("Write <think>a</think>.", {}, "Write <think>a</think>.", "Write <think>a</think>.");
  expect("<think>a</think><think>b</think>", {}, "[a]<think>b</think>",
         "<think>a</think><think>b</think>");
  AnswerForm whole;
  whole.split_reasoning = false;
  expect("<think>hm</think>yes", whole, "<think>hm</think>yes", "<think>hm</think>yes");
}

TEST(AnswerStream, LineBreaksAroundTheReasoningCanBeLeftOut) {
  AnswerForm form;
  form.trim = true;
  expect("<think>\nfirst\n\nsecond\n</think>\n\nyes\n", form, "[first\n\nsecond]yes\n",
         "<think>\nfirst\n\nsecond\n</think>\n\nyes\n");
  expect("\nplain", form, "\nplain", "\nplain");
  expect("<think>\n\n</think>\n\nyes", form, "yes", "<think>\n\n</think>\n\nyes");
}

TEST(AnswerStream, NothingOfAStopStringIsShown) {
  expect("one STOP two", stops_at({"STOP"}), "one ", "one ");
  expect("one STO", stops_at({"STOP"}), "one STO", "one STO");
  expect("aab", stops_at({"ab"}), "a", "a");
  expect("one, two; three", stops_at({";", ","}), "one", "one");
  expect("text", stops_at({""}), "text", "text");
  expect("\n\nHuman", stops_at({"\n\nHuman"}), "", "");
}

TEST(AnswerStream, AStopStringMayBeKept) {
  AnswerForm form = stops_at({"STOP"});
  form.include_stop = true;
  expect("one STOP two", form, "one STOP", "one STOP");
}

TEST(AnswerStream, AStopStringMayLieInReasoning) {
  expect("<think>hm END</think>", stops_at({"END"}), "[hm ", "<think>hm ");
}

TEST(AnswerStream, TellsWhichStopStringWasMetAndWhenItCounts) {
  std::string shown;
  AnswerStream answer(stops_at({"b", "c"}), [&](std::string_view text, bool) { shown += text; });
  EXPECT_TRUE(answer.append("abc", false));
  EXPECT_FALSE(answer.append("xc"));
  EXPECT_EQ(shown, "abcx");
  EXPECT_EQ(answer.stop(), "c");
}

}  // namespace
}  // namespace sampan
