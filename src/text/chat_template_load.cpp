#include <algorithm>
#include <array>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/chat_template.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"

namespace sampan {
namespace {

using jinja::Kind;
using jinja::Value;

constexpr std::uint64_t kMaxConfigBytes = 64ull << 20;
constexpr std::size_t kMaxTemplates = 100;

using NamedSources = std::vector<std::pair<std::string, std::string>>;

bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

std::optional<Value> read_json(const std::filesystem::path& path) {
  if (!is_file(path)) return std::nullopt;
  const std::string text = read_file(path, kMaxConfigBytes);
  Value value = jinja::parse_json(nullptr, text, true, path.filename().c_str());
  if (!value.is(Kind::kDict)) {
    fail(ErrorCode::kInvalidData, "{}: not a JSON object", path.string());
  }
  return value;
}

// A token's text: a string, or an object with "content".
std::optional<std::string> token_text(const Value& value) {
  if (value.is_string()) return std::string(value.as_string().view());
  if (!value.is(Kind::kDict)) return std::nullopt;
  const Value* content = value.as_dict().find("content");
  if (content == nullptr || !content->is_string()) return std::nullopt;
  return std::string(content->as_string().view());
}

void read_special_tokens(const Value& config, std::map<std::string, std::string>& tokens) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
  for (const auto& [key, value] : config.as_dict().entries()) {
    const std::string name(key.as_string().view());
    const bool standard = std::find(kNames.begin(), kNames.end(), name) != kNames.end();
    if (!standard && !name.ends_with("_token")) continue;
    if (!standard && !value.is_string()) continue;
    if (auto text = token_text(value)) {
      tokens[name] = std::move(*text);
    } else if (value.is_none()) {
      tokens.erase(name);
    }
  }
  const Value* extra = config.as_dict().find("extra_special_tokens");
  if (extra == nullptr || !extra->is(Kind::kDict)) return;
  for (const auto& [key, value] : extra->as_dict().entries()) {
    if (auto text = token_text(value))
      tokens[std::string(key.as_string().view())] = std::move(*text);
  }
}

NamedSources read_template_files(const std::filesystem::path& folder) {
  NamedSources sources;
  const auto add = [&](const std::string& name, const std::filesystem::path& path) {
    if (sources.size() >= kMaxTemplates) {
      fail(ErrorCode::kLimit, "{}: more than {} chat templates", folder.string(), kMaxTemplates);
    }
    sources.emplace_back(name, read_file(path, jinja::kMaxSourceBytes));
  };
  if (is_file(folder / "chat_template.jinja")) add("default", folder / "chat_template.jinja");
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder / "additional_chat_templates", error)) {
    if (entry.path().extension() == ".jinja") add(entry.path().stem().string(), entry.path());
  }
  return sources;
}

// chat_template of tokenizer_config.json: a template, or a list of {name, template}.
void read_config_templates(const Value& config, ChatTemplates& out) {
  const Value* given = config.as_dict().find("chat_template");
  if (given == nullptr || given->is_none()) return;
  if (given->is_string()) {
    out.sources.emplace_back("default", given->as_string().view());
    out.single = true;
    return;
  }
  if (!given->is(Kind::kList)) {
    fail(ErrorCode::kInvalidData, "tokenizer_config.json: chat_template is neither text nor list");
  }
  for (const Value& entry : given->as_sequence().items) {
    const Value* name = entry.is(Kind::kDict) ? entry.as_dict().find("name") : nullptr;
    const Value* source = entry.is(Kind::kDict) ? entry.as_dict().find("template") : nullptr;
    if (name == nullptr || source == nullptr || !name->is_string() || !source->is_string()) {
      fail(ErrorCode::kInvalidData,
           "tokenizer_config.json: an entry of chat_template lacks name or template");
    }
    out.sources.emplace_back(name->as_string().view(), source->as_string().view());
  }
}

const std::string* find_source(const NamedSources& sources, std::string_view name) {
  // Of two templates of one name the last counts, as in transformers' dict.
  const auto at = std::find_if(sources.rbegin(), sources.rend(),
                               [&](const auto& source) { return source.first == name; });
  return at == sources.rend() ? nullptr : &at->second;
}

}  // namespace

const std::string& ChatTemplates::choose(bool with_tools, std::string_view name) const {
  const std::string* source = nullptr;
  if (!name.empty()) {
    source = find_source(sources, name);
  } else if (single) {
    source = &sources.front().second;
  } else {
    if (with_tools) source = find_source(sources, "tool_use");
    if (source == nullptr) source = find_source(sources, "default");
  }
  if (source != nullptr) return *source;
  if (sources.empty()) fail(ErrorCode::kNotFound, "the model has no chat template");
  std::string known;
  for (const auto& [other, text] : sources) known += (known.empty() ? "" : ", ") + printable(other);
  if (name.empty()) {
    fail(ErrorCode::kNotFound,
         "the model has several chat templates and no default: choose one of {}", known);
  }
  fail(ErrorCode::kNotFound, "the model has no chat template '{}', but {}", printable(name), known);
}

ChatTemplates load_chat_templates(const std::filesystem::path& folder) {
  ChatTemplates out;
  const auto config = read_json(folder / "tokenizer_config.json");
  if (config) read_special_tokens(*config, out.special_tokens);
  if (!config || config->as_dict().find("added_tokens_decoder") == nullptr) {
    // Before tokenizer_config.json listed the added tokens, this file had the last word.
    if (const auto map = read_json(folder / "special_tokens_map.json")) {
      read_special_tokens(*map, out.special_tokens);
    }
  }
  out.sources = read_template_files(folder);
  out.single = out.sources.size() == 1 && out.sources[0].first == "default";
  if (out.sources.empty() && config) read_config_templates(*config, out);
  return out;
}

ChatTemplates chat_templates_from_strings(std::string default_template, NamedSources named,
                                          std::map<std::string, std::string> special_tokens) {
  ChatTemplates out;
  out.single = named.empty() && !default_template.empty();
  if (!default_template.empty()) out.sources.emplace_back("default", std::move(default_template));
  for (auto& source : named) out.sources.push_back(std::move(source));
  out.special_tokens = std::move(special_tokens);
  return out;
}

}  // namespace sampan
