#include "text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "text/json_access.h"

namespace sampan {
namespace {

constexpr std::string_view kSpecialKeys[] = {"bos_token", "eos_token", "pad_token", "unk_token",
                                             "cls_token", "sep_token", "mask_token"};
constexpr std::string_view kSpecialLists[] = {"additional_special_tokens", "extra_special_tokens"};

// A token is written as its content or as an object that has it.
std::string content_of(json::Element value, const std::string& where) {
  if (value.is_object()) {
    value = json::get(json::to_object(value, where), "content", where);
  }
  return std::string(json::to_string(value, where));
}

void read_special_tokens(const JsonDocument& document, TokenizerConfig& config) {
  for (const std::string_view key : kSpecialKeys) {
    const auto value = json::find(document.root(), key);
    if (!value || value->is_bool() || value->is_number()) continue;
    const std::string content = content_of(*value, fmt::format("{}: {}", document.name(), key));
    if (content.empty()) continue;
    if (key == "bos_token") config.bos_token = content;
    if (key == "eos_token") config.eos_token = content;
    if (key == "pad_token") config.pad_token = content;
    config.special_contents.push_back(content);
  }
  for (const std::string_view key : kSpecialLists) {
    const auto value = json::find(document.root(), key);
    if (!value || !value->is_array()) continue;  // a newer form is an object of names
    const std::string where = fmt::format("{}: {}", document.name(), key);
    for (const json::Element element : json::to_array(*value, where)) {
      config.special_contents.push_back(content_of(element, where));
    }
  }
}

AddedToken read_decoder_entry(std::string_view id, json::Element value, const std::string& name) {
  const std::string where = fmt::format("{}: added_tokens_decoder.{}", name, printable(id, 20));
  const json::Object object = json::to_object(value, where);
  AddedToken token;
  const auto result = std::from_chars(id.data(), id.data() + id.size(), token.id);
  if (result.ec != std::errc() || result.ptr != id.data() + id.size() || token.id < 0) {
    fail(ErrorCode::kInvalidData, "{}: not a token id", where);
  }
  token.content = json::to_string(json::get(object, "content", where), where);
  token.special = json::bool_or(object, "special", false, where);
  token.normalized = json::bool_or(object, "normalized", !token.special, where);
  token.single_word = json::bool_or(object, "single_word", false, where);
  token.lstrip = json::bool_or(object, "lstrip", false, where);
  token.rstrip = json::bool_or(object, "rstrip", false, where);
  return token;
}

}  // namespace

void read_tokenizer_config(std::string_view text, TokenizerConfig& config) {
  const JsonDocument document(text, "tokenizer_config.json");
  if (const auto value = json::find(document.root(), "tokenizer_class")) {
    config.tokenizer_class = json::to_string(*value, "tokenizer_config.json: tokenizer_class");
  }
  const auto flag = [&document](std::string_view key) -> std::optional<bool> {
    const auto value = json::find(document.root(), key);
    if (!value) return std::nullopt;
    return json::to_bool(*value, fmt::format("tokenizer_config.json: {}", key));
  };
  config.add_bos_token = flag("add_bos_token");
  config.add_eos_token = flag("add_eos_token");
  read_special_tokens(document, config);
  if (const auto decoder = json::find(document.root(), "added_tokens_decoder")) {
    for (const auto entry :
         json::to_object(*decoder, "tokenizer_config.json: added_tokens_decoder")) {
      config.added_tokens.push_back(read_decoder_entry(entry.key, entry.value, document.name()));
    }
  }
}

void read_special_tokens_map(std::string_view text, TokenizerConfig& config) {
  TokenizerConfig map;
  read_special_tokens(JsonDocument(text, "special_tokens_map.json"), map);
  config.special_contents.insert(config.special_contents.end(), map.special_contents.begin(),
                                 map.special_contents.end());
  if (config.bos_token.empty()) config.bos_token = map.bos_token;
  if (config.eos_token.empty()) config.eos_token = map.eos_token;
  if (config.pad_token.empty()) config.pad_token = map.pad_token;
}

void read_added_tokens(std::string_view text, TokenizerConfig& config) {
  const JsonDocument document(text, "added_tokens.json");
  for (const auto entry : document.root()) {
    const std::string where = fmt::format("added_tokens.json: '{}'", printable(entry.key));
    const std::int64_t id = json::to_int(entry.value, where);
    if (id < 0 || id >= Vocabulary::kMaxTokens)
      fail(ErrorCode::kInvalidData, "{}: id {}", where, id);
    const bool known = std::any_of(config.added_tokens.begin(), config.added_tokens.end(),
                                   [id](const AddedToken& token) { return token.id == id; });
    if (known) continue;
    AddedToken token;
    token.content = entry.key;
    token.id = static_cast<std::int32_t>(id);
    token.normalized = true;
    config.added_tokens.push_back(std::move(token));
  }
}

void merge_added_tokens(const TokenizerConfig& config, std::vector<AddedToken>& tokens) {
  std::unordered_map<std::string_view, std::size_t> by_content;
  for (std::size_t i = 0; i < tokens.size(); ++i) by_content[tokens[i].content] = i;
  std::vector<AddedToken> more;
  for (const AddedToken& token : config.added_tokens) {
    const auto found = by_content.find(token.content);
    if (found == by_content.end()) {
      more.push_back(token);
    } else {
      const std::int32_t id = tokens[found->second].id;
      AddedToken& target = tokens[found->second];
      const bool special = target.special || token.special;
      // The content stays where it is: by_content has views of it.
      target.single_word = token.single_word;
      target.lstrip = token.lstrip;
      target.rstrip = token.rstrip;
      target.normalized = token.normalized;
      target.special = special;
      target.id = id;
    }
  }
  tokens.insert(tokens.end(), more.begin(), more.end());
}

void apply_config(const TokenizerConfig& config, TokenizerParts& parts) {
  std::unordered_map<std::string_view, AddedToken*> by_content;
  for (AddedToken& token : parts.added_tokens) by_content[token.content] = &token;
  for (const std::string& content : config.special_contents) {
    const auto found = by_content.find(content);
    if (found != by_content.end()) found->second->special = true;
  }
  const auto id_of = [&](const std::string& content, std::optional<std::int32_t>& id) {
    if (content.empty()) return;
    if (const auto found = by_content.find(content); found != by_content.end()) {
      id = found->second->id;
    } else if (const std::int32_t known = parts.vocabulary->find(content);
               known != Vocabulary::kNone) {
      id = known;
    }
  };
  id_of(config.bos_token, parts.bos_id);
  id_of(config.eos_token, parts.eos_id);
  id_of(config.pad_token, parts.pad_id);
  if (config.add_bos_token) parts.adds_bos = *config.add_bos_token && parts.bos_id.has_value();
  if (config.add_eos_token) parts.adds_eos = *config.add_eos_token && parts.eos_id.has_value();
}

}  // namespace sampan
