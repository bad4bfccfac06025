// The goldens of tests/data/chat_templates: what transformers and Jinja render
// (tools/make_template_goldens.py).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/chat_template.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"

namespace sampan {
namespace {

using jinja::Kind;
using jinja::Value;

const std::filesystem::path kData = std::filesystem::path(SAMPAN_TEST_DATA) / "chat_templates";

std::chrono::system_clock::time_point fixed_clock() {
  return std::chrono::system_clock::time_point(std::chrono::seconds(1721998805));
}

Value read(const char* name) {
  return jinja::parse_json(nullptr, read_file(kData / name), false, name);
}

std::string text_of(const Value& object, std::string_view key) {
  return std::string(object.as_dict().find(key)->as_string().view());
}

std::string fnv1a(std::string_view bytes) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return fmt::format("{:016x}", value);
}

class ChatTemplateGolden : public ::testing::TestWithParam<std::string> {
 protected:
  // The goldens' clock is read in UTC.
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

TEST_P(ChatTemplateGolden, RendersAsTransformers) {
  static const Value conversations = read("conversations.json");
  static const Value goldens = read("renderings.json");
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  options.clock = fixed_clock;
  const std::string source = read_file(kData / GetParam());
  const Value& row = *goldens.as_dict().find("hashes")->as_dict().find(GetParam());
  const Value* texts = goldens.as_dict().find("texts")->as_dict().find(GetParam());
  std::size_t rendered = 0;
  for (const auto& [name, conversation] : conversations.as_dict().entries()) {
    const std::string_view key = name.as_string().view();
    const std::string messages = text_of(conversation, "messages");
    const std::string tools = text_of(conversation, "tools");
    const std::string variables = text_of(conversation, "variables");
    std::string hash;
    std::string text;
    try {
      text = ChatTemplate::parse(source, options).render({messages, tools, variables}).text();
      hash = fnv1a(text);
      ++rendered;
    } catch (const Error& error) {
      hash = "error";
      text = error.what();
    }
    EXPECT_EQ(hash, row.as_dict().find(key)->as_string().view()) << key << "\n" << text;
    const Value* full = texts == nullptr ? nullptr : texts->as_dict().find(key);
    if (full != nullptr) {
      EXPECT_EQ(text, full->as_string().view()) << key;
    }
  }
  EXPECT_GT(rendered, 5u);
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kData)) {
    if (entry.path().extension() == ".jinja") names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Published, ChatTemplateGolden, ::testing::ValuesIn(template_names()),
                         test_name);

TEST(JinjaGolden, RandomTemplatesRenderAsJinja) {
  setenv("TZ", "UTC", 1);
  tzset();
  const Value cases = read("cases.json");
  std::size_t compared = 0;
  for (const Value& entry : cases.as_sequence().items) {
    const std::string source = text_of(entry, "template");
    const std::string variables_json = text_of(entry, "variables");
    const Value* wanted = entry.as_dict().find("text");
    jinja::Budget budget({});
    std::map<std::string, Value> variables;
    const Value parsed = jinja::parse_json(&budget, variables_json, false, "variables");
    for (const auto& [key, value] : parsed.as_dict().entries()) {
      variables[std::string(key.as_string().view())] = value;
    }
    std::string got;
    bool failed = false;
    try {
      const jinja::TemplateTree tree = jinja::parse_template(source);
      got = jinja::Interpreter(budget, tree, std::move(variables), fixed_clock).run().bytes;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kUnsupported) continue;
      failed = true;
      got = error.what();
    }
    ++compared;
    EXPECT_EQ(failed, wanted->is_none()) << source << "\n" << variables_json << "\n" << got;
    if (!failed && wanted->is_string()) {
      EXPECT_EQ(got, wanted->as_string().view()) << source << "\n" << variables_json;
    }
  }
  EXPECT_GT(compared, 900u);
}

}  // namespace
}  // namespace sampan
