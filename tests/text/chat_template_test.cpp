#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/error.h"

namespace sampan {
namespace {

constexpr const char* kChatMl =
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% "
    "endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

std::string render(std::string source, const ChatInput& input, ChatTemplateOptions options = {}) {
  return ChatTemplate::parse(std::move(source), std::move(options)).render(input).text();
}

// The pieces as one text in which what is not trusted stands in brackets.
std::string marked(std::string source, std::string_view messages, std::string_view tools = {},
                   std::string_view variables = {}) {
  std::string out;
  for (const auto& piece :
       ChatTemplate::parse(std::move(source)).render({messages, tools, variables}).pieces) {
    EXPECT_FALSE(piece.text.empty());
    out += piece.trusted ? piece.text : "[" + piece.text + "]";
  }
  return out;
}

std::string error_of(std::string source, const ChatInput& input) {
  try {
    render(std::move(source), input);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ChatTemplate, RendersATurn) {
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}};
  EXPECT_EQ(
      render(kChatMl,
             {R"([{"role": "user", "content": "Hi"}])", "", R"({"add_generation_prompt": true})"},
             options),
      "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, KnowsWhoWroteWhat) {
  EXPECT_EQ(marked(kChatMl, R"([{"role": "user", "content": "<|im_end|>"}])"),
            "<|im_start|>user\n[<|im_end|>]<|im_end|>\n");
  // A role outside the known ones is not trusted.
  EXPECT_EQ(marked(kChatMl, R"([{"role": "im_end|>", "content": "x"}])"),
            "<|im_start|>[im_end|>]\n[x]<|im_end|>\n");
}

TEST(ChatTemplate, ProvenanceFollowsEveryByte) {
  const auto trace = [](const std::string& expression) {
    return marked("{% set c = messages[0].content %}{{ " + expression + " }}",
                  R"([{"role": "user", "content": " a<b>c "}])");
  };
  EXPECT_EQ(trace("'x' + c + 'y'"), "x[ a<b>c ]y");
  EXPECT_EQ(trace("'x' ~ c|trim ~ 'y'"), "x[a<b>c]y");
  EXPECT_EQ(trace("('x' + c + 'y')[1:-2]"), "[ a<b>c]");
  EXPECT_EQ(trace("('x' + c + 'y')[::-1]"), "y[ c>b<a ]x");
  EXPECT_EQ(trace("c|replace('b', 'B')"), "[ a<]B[>c ]");
  EXPECT_EQ(trace("'<-b->'|replace('b', c)"), "<-[ a<b>c ]->");
  EXPECT_EQ(trace("('x' + c)|upper"), "X[ A<B>C ]");
  EXPECT_EQ(trace("c.split('<')|join('|')"), "[ a]|[b>c ]");
  EXPECT_EQ(trace("'%s-%s' % (c, 'z')"), "[ a<b>c ]-z");
  EXPECT_EQ(trace("'{}-{}'.format(c, 'z')"), "[ a<b>c ]-z");
  EXPECT_EQ(trace("('x' + c + 'y').partition('b')[2]"), "[>c ]y");
  EXPECT_EQ(trace("c|e"), "[ a&lt;b&gt;c ]");
  EXPECT_EQ(trace("c|tojson"), "[\" a<b>c \"]");
  EXPECT_EQ(trace("['<t>', c]"), "[['<t>', ' a<b>c ']]");
  EXPECT_EQ(trace("'a'|indent ~ ('x\n' + c)|indent(1)"), "ax\n [ a<b>c ]");
  EXPECT_EQ(trace("c|default('d')"), "[ a<b>c ]");
  EXPECT_EQ(trace("c|title ~ 'q'|title"), "[ A<B>c ]Q");
  EXPECT_EQ(trace("c * 2"), "[ a<b>c  a<b>c ]");
  EXPECT_EQ(trace("'k' if c else c"), "k");
  EXPECT_EQ(trace("{'a': c}.a ~ 1"), "[ a<b>c ]1");
}

TEST(ChatTemplate, KeysAndVariablesAreNotTrusted) {
  EXPECT_EQ(
      marked("{% for k, v in tools[0].items() %}{{ k }}={{ v }};{% endfor %}{{ who }}{{ n + 1 }}",
             R"([{"role": "user"}])", R"([{"<|im_end|>": 1}])", R"({"who": "me", "n": 4})"),
      "[<|im_end|>]=[1];[me5]");
}

TEST(ChatTemplate, MacrosAndBlocksKeepProvenance) {
  EXPECT_EQ(marked("{% macro m(x) %}<{{ x }}>{% endmacro %}{% set b %}({{ m(messages[0].content) "
                   "}}){% endset %}{{ b|trim }}",
                   R"([{"role": "user", "content": "u"}])"),
            "(<[u]>)");
}

TEST(ChatTemplate, CanTrustAllAsTransformersDoes) {
  ChatTemplateOptions options;
  options.trust_conversation = true;
  const auto prompt = ChatTemplate::parse(kChatMl, options)
                          .render({R"([{"role": "user", "content": "x"}])", "", ""});
  ASSERT_EQ(prompt.pieces.size(), 1u);
  EXPECT_TRUE(prompt.pieces[0].trusted);
}

TEST(ChatTemplate, PreparesMessagesAsTransformers) {
  const char* const dump =
      "{% for m in messages %}{{ m }}{% endfor %}{{ tools }}{{ documents }}{{ "
      "add_generation_prompt }}";
  EXPECT_EQ(render(dump, {R"([{"role": "user", "content": null, "x": 1}])", "", ""}),
            "{'role': 'user', 'x': 1}NoneNoneFalse");
  EXPECT_EQ(
      render(dump, {R"([{"role": "a", "reasoning": "R"}])", "[]", ""}),
      "{'thinking': 'R', 'role': 'a', 'reasoning': 'R', 'reasoning_content': 'R'}[]NoneFalse");
  EXPECT_EQ(
      render(dump, {R"([{"thinking": "T", "role": "a", "reasoning_content": "C"}])", "null", ""}),
      "{'thinking': 'T', 'role': 'a', 'reasoning_content': 'C'}NoneNoneFalse");
}

TEST(ChatTemplate, RejectsWhatTransformersRejects) {
  const char* const message = R"([{"role": "user", "content": "x"}])";
  EXPECT_NE(error_of(kChatMl, {"[]", "", ""}), "");
  EXPECT_NE(error_of(kChatMl, {"{}", "", ""}), "");
  EXPECT_NE(error_of(kChatMl, {R"(["x"])", "", ""}), "");
  EXPECT_NE(error_of(kChatMl, {"[1", "", ""}), "");
  EXPECT_NE(error_of(kChatMl, {"", "", ""}), "");
  EXPECT_NE(error_of(kChatMl, {message, R"(["f"])", ""}), "");
  EXPECT_NE(error_of(kChatMl, {message, R"({"a": 1})", ""}), "");
  EXPECT_NE(error_of(kChatMl, {message, "", "[]"}), "");
  EXPECT_NE(error_of(kChatMl, {message, "", R"({"messages": []})"}), "");
  EXPECT_NE(error_of(kChatMl, {message, "", R"({"documents": ["d"]})"}), "");
  EXPECT_NE(error_of(kChatMl, {R"([{"role": "user", "content": "\ud800"}])", "", ""}), "");
}

TEST(ChatTemplate, ErrorsNameLineAndReason) {
  const char* const message = R"([{"role": "user", "content": "x"}])";
  EXPECT_EQ(error_of("a\n{{ raise_exception('No ' ~ messages[0].content) }}", {message, "", ""}),
            "chat template: line 2: No x");
  EXPECT_EQ(error_of("a\n\n{{ nope.x }}", {message, "", ""}),
            "chat template: line 3: 'nope' is undefined");
  EXPECT_EQ(error_of("{{ messages[0].y.z }}", {message, "", ""}),
            "chat template: line 1: 'dict object' has no attribute 'y'");
  EXPECT_EQ(error_of("\n{% if %}", {message, "", ""}).substr(0, 22), "chat template: line 2:");
  EXPECT_EQ(error_of("{{ raise_exception('a\nb\x1b') }}", {message, "", ""}),
            "chat template: line 1: a\\x0ab\\x1b");
}

TEST(ChatTemplate, LeavesTheFinalMessageOpen) {
  const char* const messages =
      R"([{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once "}])";
  EXPECT_EQ(render(kChatMl, {messages, "", R"({"continue_final_message": true})"}),
            "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\nOnce ");
  EXPECT_EQ(render("{{ messages[-1].content|trim }}end",
                   {messages, "", R"({"continue_final_message": true})"}),
            "Once");
  EXPECT_NE(
      error_of("{{ messages[0].content }}", {messages, "", R"({"continue_final_message": true})"}),
      "");
}

TEST(ChatTemplate, ReportsGenerationSpans) {
  const auto prompt =
      ChatTemplate::parse(
          "é{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}")
          .render({R"([{"content": "ab"}, {"content": "ü"}])", "", ""});
  EXPECT_EQ(prompt.text(), "éab;ü;");
  const std::vector<std::pair<std::size_t, std::size_t>> expected = {{2, 4}, {5, 7}};
  EXPECT_EQ(prompt.generation_spans, expected);
}

TEST(ChatTemplate, ServesManyThreads) {
  const ChatTemplate chat = ChatTemplate::parse(
      "{% macro m(x) %}{{ 'long literal with many characters é中 and more than sixty-four of them "
      "in all' [x] }}{% endmacro %}"
      "{% for m in messages %}{% for i in range(60, 76) %}{{ m(i) if false }}{{ 'é中' * i }}{% "
      "endfor %}{% endfor %}");
  const std::string wanted = chat.render({R"([{"role": "user"}])", "", ""}).text();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        EXPECT_EQ(chat.render({R"([{"role": "user"}])", "", ""}).text(), wanted);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(ChatTemplate, VariablesOfACommandLine) {
  EXPECT_EQ(variable_json("true"), "true");
  EXPECT_EQ(variable_json("[1, 2]"), "[1, 2]");
  EXPECT_EQ(variable_json("high"), "\"high\"");
  EXPECT_EQ(variable_json("a\"b\\\n"), "\"a\\\"b\\\\\\u000a\"");
  EXPECT_EQ(variable_json("True"), "\"True\"");
}

class ChatTemplateFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("sampan_chat_template_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "additional_chat_templates");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, std::string_view text) { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_;
};

TEST_F(ChatTemplateFolder, WithoutTemplate) {
  const ChatTemplates templates = load_chat_templates(folder_);
  EXPECT_TRUE(templates.sources.empty());
  EXPECT_THROW(templates.choose(false), Error);
}

TEST_F(ChatTemplateFolder, OneTemplateServesForAll) {
  write(
      "tokenizer_config.json",
      R"({"chat_template": "T", "bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>",
            "pad_token": null, "image_token": "<img>", "add_bos_token": true})");
  const ChatTemplates templates = load_chat_templates(folder_);
  EXPECT_EQ(templates.choose(true), "T");
  EXPECT_EQ(templates.choose(false), "T");
  const std::map<std::string, std::string> tokens = {
      {"bos_token", "<s>"}, {"eos_token", "</s>"}, {"image_token", "<img>"}};
  EXPECT_EQ(templates.special_tokens, tokens);
}

TEST_F(ChatTemplateFolder, SeveralTemplates) {
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]})");
  const ChatTemplates templates = load_chat_templates(folder_);
  EXPECT_EQ(templates.choose(false), "D");
  EXPECT_EQ(templates.choose(true), "T");
  EXPECT_EQ(templates.choose(false, "tool_use"), "T");
  EXPECT_THROW(templates.choose(false, "rag"), Error);
}

TEST_F(ChatTemplateFolder, FilesWin) {
  write("tokenizer_config.json", R"({"chat_template": "C"})");
  write("chat_template.jinja", "F");
  EXPECT_EQ(load_chat_templates(folder_).choose(true), "F");
  write("additional_chat_templates/tool_use.jinja", "U");
  EXPECT_EQ(load_chat_templates(folder_).choose(true), "U");
  EXPECT_EQ(load_chat_templates(folder_).choose(false), "F");
}

TEST_F(ChatTemplateFolder, OlderFilesNameTokensApart) {
  write("tokenizer_config.json", R"({"bos_token": "A", "chat_template": "C"})");
  write("special_tokens_map.json", R"({"bos_token": {"content": "B", "lstrip": false}})");
  EXPECT_EQ(load_chat_templates(folder_).special_tokens.at("bos_token"), "B");
  write("tokenizer_config.json", R"({"bos_token": "A", "added_tokens_decoder": {}})");
  EXPECT_EQ(load_chat_templates(folder_).special_tokens.at("bos_token"), "A");
}

TEST_F(ChatTemplateFolder, BrokenFiles) {
  write("tokenizer_config.json", "{");
  EXPECT_THROW(load_chat_templates(folder_), Error);
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THROW(load_chat_templates(folder_), Error);
  write("tokenizer_config.json", R"({"chat_template": [{"name": "x"}]})");
  EXPECT_THROW(load_chat_templates(folder_), Error);
}

TEST(ChatTemplates, FromGguf) {
  const ChatTemplates one = chat_templates_from_strings("D", {}, {});
  EXPECT_EQ(one.choose(true), "D");
  const ChatTemplates two =
      chat_templates_from_strings("D", {{"tool_use", "T"}}, {{"bos_token", "<s>"}});
  EXPECT_EQ(two.choose(true), "T");
  EXPECT_EQ(two.choose(false), "D");
}

}  // namespace
}  // namespace sampan
