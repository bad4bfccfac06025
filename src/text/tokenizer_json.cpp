#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "text/json_access.h"
#include "text/token_table.h"
#include "text/tokenizer.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_parts.h"

namespace sampan {
namespace {

constexpr const char* kTokenizerFile = "tokenizer.json";
constexpr int kMaxNesting = 8;         // of Sequences
constexpr std::size_t kMaxSteps = 64;  // of a pre-tokenizer

[[noreturn]] void unsupported(std::string_view part, std::string_view type) {
  fail(ErrorCode::kUnsupported, "{}: {} '{}' is not supported", kTokenizerFile, part, printable(type));
}

std::string_view type_of(json::Object object, std::string_view part) {
  return json::to_string(json::get(object, "type", part), part);
}

// ---- added tokens

std::vector<AddedToken> read_added_tokens(json::Object root) {
  std::vector<AddedToken> tokens;
  const auto list = json::find(root, "added_tokens");
  if (!list) return tokens;
  constexpr std::string_view kWhere = "tokenizer.json: added_tokens";
  for (const json::Element element : json::to_array(*list, kWhere)) {
    const json::Object object = json::to_object(element, kWhere);
    AddedToken token;
    token.content = json::to_string(json::get(object, "content", kWhere), kWhere);
    const std::int64_t id = json::to_int(json::get(object, "id", kWhere), kWhere);
    if (id < 0 || id >= Vocabulary::kMaxTokens) {
      fail(ErrorCode::kInvalidData, "{}: '{}' has the id {}", kWhere, printable(token.content), id);
    }
    token.id = static_cast<std::int32_t>(id);
    token.special = json::bool_or(object, "special", false, kWhere);
    token.normalized = json::bool_or(object, "normalized", !token.special, kWhere);
    token.single_word = json::bool_or(object, "single_word", false, kWhere);
    token.lstrip = json::bool_or(object, "lstrip", false, kWhere);
    token.rstrip = json::bool_or(object, "rstrip", false, kWhere);
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return tokens;
}

// ---- normalizer

bool read_normalizer(json::Element element, int depth) {
  constexpr std::string_view kWhere = "tokenizer.json: normalizer";
  const json::Object object = json::to_object(element, kWhere);
  const std::string_view type = type_of(object, kWhere);
  if (type == "NFC") return true;
  if (type != "Sequence" || depth > kMaxNesting) unsupported("normalizer", type);
  bool nfc = false;
  for (const json::Element part :
       json::to_array(json::get(object, "normalizers", kWhere), kWhere)) {
    nfc |= read_normalizer(part, depth + 1);
  }
  return nfc;
}

// ---- pre-tokenizer

SplitBehavior read_behavior(json::Object object) {
  constexpr std::string_view kWhere = "tokenizer.json: pre_tokenizer.behavior";
  const std::string_view name = json::to_string(json::get(object, "behavior", kWhere), kWhere);
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  unsupported("pre_tokenizer behavior", name);
}

class PreTokenizerReader {
 public:
  std::shared_ptr<const PreTokenizer> read(json::Object root) {
    const auto element = json::find(root, "pre_tokenizer");
    if (element) read_element(*element, 0);
    if (!byte_level_)
      fail(ErrorCode::kUnsupported, "{}: only byte-level tokenizers are supported", kTokenizerFile);
    if (family_.empty()) family_ = steps_.empty() ? "no" : "its own";
    return std::make_shared<PreTokenizer>(std::move(steps_), family_);
  }

 private:
  static constexpr std::string_view kWhere = "tokenizer.json: pre_tokenizer";

  void read_element(json::Element element, int depth) {
    const json::Object object = json::to_object(element, kWhere);
    const std::string_view type = type_of(object, kWhere);
    if (type == "Sequence" && depth <= kMaxNesting) {
      for (const json::Element part :
           json::to_array(json::get(object, "pretokenizers", kWhere), kWhere)) {
        read_element(part, depth + 1);
      }
      return;
    }
    // What follows ByteLevel would see text in the byte alphabet.
    if (byte_level_) unsupported("pre_tokenizer behind ByteLevel:", type);
    if (type == "Split") {
      read_split(object);
    } else if (type == "ByteLevel") {
      read_byte_level(object);
    } else if (type == "Digits") {
      add({make_digits(json::bool_or(object, "individual_digits", false, kWhere))});
    } else if (type == "Punctuation") {
      const bool given = json::find(object, "behavior").has_value();
      add({make_punctuation(given ? read_behavior(object) : SplitBehavior::kIsolated)});
    } else {
      unsupported("pre_tokenizer", type);
    }
  }

  void read_split(json::Object object) {
    const json::Object pattern = json::to_object(json::get(object, "pattern", kWhere), kWhere);
    const auto regex = json::find(pattern, "Regex");
    const std::string_view text =
        json::to_string(regex ? *regex : json::get(pattern, "String", kWhere), kWhere);
    add({make_split(text, regex.has_value(), read_behavior(object),
                    json::bool_or(object, "invert", false, kWhere))});
    if (const KnownPattern* known = regex ? find_known_pattern(text) : nullptr)
      family_ = known->name;
    if (regex && text.starts_with("\\s?\\p{P}")) family_ = "deepseek-coder";
    if (regex && text.starts_with("\\s?[A-Za-z")) family_ = "deepseek-llm";
  }

  void read_byte_level(json::Object object) {
    byte_level_ = true;
    PreTokenizerStep step;
    step.add_prefix_space = json::bool_or(object, "add_prefix_space", true, kWhere);
    if (json::bool_or(object, "use_regex", true, kWhere)) {
      step.splitter = make_split(kGpt2Pattern, true, SplitBehavior::kIsolated, false);
      if (steps_.empty()) family_ = "gpt-2";
    }
    if (step.add_prefix_space || step.splitter != nullptr) add(std::move(step));
  }

  void add(PreTokenizerStep step) {
    steps_.push_back(std::move(step));
    if (steps_.size() > kMaxSteps) {
      fail(ErrorCode::kLimit, "{}: more than {} steps in the pre_tokenizer", kTokenizerFile, kMaxSteps);
    }
  }

  std::vector<PreTokenizerStep> steps_;
  std::string family_;
  bool byte_level_ = false;
};

// ---- decoder: nothing is read from it, but one that is not byte-level would give other text than
// decode() does.

bool is_byte_level_decoder(json::Element element, int depth) {
  constexpr std::string_view kWhere = "tokenizer.json: decoder";
  const json::Object object = json::to_object(element, kWhere);
  const std::string_view type = type_of(object, kWhere);
  if (type == "ByteLevel") return true;
  if (type == "Fuse") return false;
  if (type != "Sequence" || depth > kMaxNesting) unsupported("decoder", type);
  bool found = false;
  for (const json::Element part : json::to_array(json::get(object, "decoders", kWhere), kWhere)) {
    found |= is_byte_level_decoder(part, depth + 1);
  }
  return found;
}

void check_decoder(json::Object root) {
  const auto decoder = json::find(root, "decoder");
  if (decoder && !is_byte_level_decoder(*decoder, 0)) {
    fail(ErrorCode::kUnsupported, "{}: only byte-level decoders are supported", kTokenizerFile);
  }
}

// ---- post-processor: which tokens it would put around a text

class PostProcessorReader {
 public:
  explicit PostProcessorReader(TokenizerParts& parts) : parts_(parts) {}

  void read(json::Element element, int depth = 0) {
    const json::Object object = json::to_object(element, kWhere);
    const std::string_view type = type_of(object, kWhere);
    if (type == "ByteLevel") return;
    if (type == "TemplateProcessing") return read_template(object);
    if (type != "Sequence" || depth > kMaxNesting) unsupported("post_processor", type);
    for (const json::Element part :
         json::to_array(json::get(object, "processors", kWhere), kWhere)) {
      read(part, depth + 1);
    }
  }

 private:
  static constexpr std::string_view kWhere = "tokenizer.json: post_processor";

  void read_template(json::Object object) {
    bool text_seen = false;
    for (const json::Element piece : json::to_array(json::get(object, "single", kWhere), kWhere)) {
      const json::Object item = json::to_object(piece, kWhere);
      if (json::find(item, "Sequence")) text_seen = true;
      const auto special = json::find(item, "SpecialToken");
      if (!special) continue;
      const auto name =
          json::to_string(json::get(json::to_object(*special, kWhere), "id", kWhere), kWhere);
      const auto id = id_of(object, name);
      if (text_seen) {
        parts_.adds_eos = true;
        parts_.eos_id = id;
      } else {
        parts_.adds_bos = true;
        parts_.bos_id = id;
      }
    }
  }

  std::int32_t id_of(json::Object object, std::string_view name) {
    const json::Object tokens =
        json::to_object(json::get(object, "special_tokens", kWhere), kWhere);
    const json::Object token = json::to_object(json::get(tokens, name, kWhere), kWhere);
    const json::Array ids = json::to_array(json::get(token, "ids", kWhere), kWhere);
    if (ids.size() != 1) unsupported("post_processor special token of several ids", name);
    const std::int64_t id = json::to_int(ids.at(0).value(), kWhere);
    if (id < 0 || static_cast<std::uint64_t>(id) >= parts_.vocabulary->size()) {
      fail(ErrorCode::kInvalidData, "{}: the id {} of '{}' is not in the vocabulary of {}", kWhere,
           id, printable(name), parts_.vocabulary->size());
    }
    return static_cast<std::int32_t>(id);
  }

  TokenizerParts& parts_;
};

// ---- model

json::Object read_model(json::Object root) {
  const json::Object model =
      json::to_object(json::get(root, "model", kTokenizerFile), "tokenizer.json: model");
  // Old files of GPT-2 leave the type out.
  if (const auto type = json::find(model, "type")) {
    const std::string_view name = json::to_string(*type, "tokenizer.json: model.type");
    if (name != "BPE") unsupported("model", name);
  } else if (!json::find(model, "merges")) {
    fail(ErrorCode::kInvalidData, "{}: model.type is missing", kTokenizerFile);
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto value = json::find(model, key);
    if (value && !json::to_string(*value, key).empty()) unsupported("model option", key);
  }
  if (json::bool_or(model, "byte_fallback", false, "tokenizer.json: model.byte_fallback")) {
    unsupported("model option", "byte_fallback");
  }
  if (const auto dropout = json::find(model, "dropout"); dropout && dropout->is_number()) {
    if (dropout->get_double().value() != 0.0) unsupported("model option", "dropout");
  }
  return model;
}

void add_vocabulary(json::Object model, TokenTable& table) {
  constexpr std::string_view kWhere = "tokenizer.json: model.vocab";
  for (const auto entry : json::to_object(json::get(model, "vocab", kWhere), kWhere)) {
    table.add(entry.key, json::to_int(entry.value, kWhere));
  }
}

void add_merges(json::Object model, MergeTable& table) {
  constexpr std::string_view kWhere = "tokenizer.json: model.merges";
  for (const json::Element merge : json::to_array(json::get(model, "merges", kWhere), kWhere)) {
    if (merge.is_string()) {
      table.add(json::to_string(merge, kWhere));
      continue;
    }
    const json::Array pair = json::to_array(merge, kWhere);
    if (pair.size() != 2)
      fail(ErrorCode::kInvalidData, "{}: a merge of {} tokens", kWhere, pair.size());
    table.add(json::to_string(pair.at(0).value(), kWhere),
              json::to_string(pair.at(1).value(), kWhere));
  }
}

// An added token whose content is in the vocabulary has the id that it has there, whatever the list
// says; of two added tokens with one id the last one counts.
void settle_added_tokens(json::Object model, std::vector<AddedToken>& tokens) {
  std::unordered_map<std::string_view, std::size_t> wanted;
  for (std::size_t i = 0; i < tokens.size(); ++i) wanted[tokens[i].content] = i;
  constexpr std::string_view kWhere = "tokenizer.json: model.vocab";
  for (const auto entry : json::to_object(json::get(model, "vocab", kWhere), kWhere)) {
    const auto found = wanted.find(entry.key);
    if (found == wanted.end()) continue;
    const std::int64_t id = json::to_int(entry.value, kWhere);
    if (id >= 0 && id < Vocabulary::kMaxTokens)
      tokens[found->second].id = static_cast<std::int32_t>(id);
  }
  std::unordered_map<std::int32_t, std::size_t> last;
  for (std::size_t i = 0; i < tokens.size(); ++i) last[tokens[i].id] = i;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (last[tokens[i].id] != i) continue;
    if (kept != i) tokens[kept] = std::move(tokens[i]);
    ++kept;
  }
  tokens.resize(kept);
}

Bpe::Options read_options(json::Object model, const Vocabulary& vocabulary) {
  Bpe::Options options;
  options.ignore_merges =
      json::bool_or(model, "ignore_merges", false, "tokenizer.json: model.ignore_merges");
  options.fuse_unknown = json::bool_or(model, "fuse_unk", false, "tokenizer.json: model.fuse_unk");
  if (const auto unknown = json::find(model, "unk_token")) {
    options.unknown = vocabulary.find(json::to_string(*unknown, "tokenizer.json: model.unk_token"));
  }
  return options;
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view tokenizer_json,
                                                     std::string_view tokenizer_config) {
  TokenizerConfig config;
  if (!tokenizer_config.empty()) read_tokenizer_config(tokenizer_config, config);
  const JsonDocument document(tokenizer_json, kTokenizerFile);
  const json::Object root = document.root();
  const json::Object model = read_model(root);

  TokenizerParts parts;
  parts.added_tokens = read_added_tokens(root);
  merge_added_tokens(config, parts.added_tokens);
  settle_added_tokens(model, parts.added_tokens);
  TokenTable table(kTokenizerFile);
  add_vocabulary(model, table);
  for (const AddedToken& token : parts.added_tokens) table.reserve_id(token.id, token.content);
  parts.vocabulary = table.build();
  MergeTable merges(kTokenizerFile, *parts.vocabulary);
  add_merges(model, merges);
  parts.bpe = std::make_unique<Bpe>(parts.vocabulary, merges.merges(),
                                    read_options(model, *parts.vocabulary));
  const auto normalizer = json::find(root, "normalizer");
  parts.nfc = normalizer && read_normalizer(*normalizer, 0);
  parts.pre_tokenizer = PreTokenizerReader().read(root);
  check_decoder(root);
  if (const auto processor = json::find(root, "post_processor"))
    PostProcessorReader(parts).read(*processor);
  apply_config(config, parts);
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sampan
