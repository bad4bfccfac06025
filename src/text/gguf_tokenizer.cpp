#include "text/gguf_tokenizer.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "text/gguf_token_types.h"
#include "text/token_table.h"
#include "text/tokenizer_parts.h"

namespace sampan {
namespace {

constexpr const char* kName = "gguf: tokenizer.ggml";

struct Family {
  std::shared_ptr<const PreTokenizer> pre_tokenizer;
  bool nfc = false;
  bool ignore_merges = false;
  bool by_rank = false;   // converted from a tiktoken file: ids are ranks
  bool adds_bos = false;  // where the file does not say
};

Family family_of(std::string_view pre) {
  if (pre.empty() || pre == "default") {
    fail(ErrorCode::kUnsupported,
         "{}.pre is '{}': the file does not say how its text is split; convert the model again",
         kName, pre);
  }
  Family family;
  family.pre_tokenizer = pre_tokenizer_by_name(pre);
  const std::string& name = family.pre_tokenizer->family();
  family.nfc = name == "qwen2" || name == "qwen35";
  family.by_rank = name == "kimi-k2";
  family.ignore_merges = name == "llama-bpe" || name == "llama4";
  family.adds_bos = name == "llama-bpe";
  return family;
}

bool is_placeholder(std::string_view token, std::size_t id) {
  return token == fmt::format("[PAD{}]", id);
}

void check_lists(const GgufTokenizerData& data) {
  if (data.model != "gpt2") {
    fail(ErrorCode::kUnsupported, "{}.model '{}' is not supported, only byte-level BPE ('gpt2')",
         kName, printable(data.model));
  }
  if (data.tokens.empty() ||
      data.tokens.size() > static_cast<std::size_t>(Vocabulary::kMaxTokens)) {
    fail(ErrorCode::kInvalidData, "{}.tokens has {} entries, not 1..{}", kName, data.tokens.size(),
         Vocabulary::kMaxTokens);
  }
  if (!data.token_types.empty() && data.token_types.size() != data.tokens.size()) {
    fail(ErrorCode::kInvalidData, "{}.token_type has {} entries for {} tokens", kName,
         data.token_types.size(), data.tokens.size());
  }
}

std::optional<std::int32_t> checked_id(std::optional<std::int64_t> id, std::size_t tokens,
                                       std::string_view key) {
  if (!id) return std::nullopt;
  // Converters write 2^32 - 1 for "none".
  if (*id < 0 || *id == 0xFFFFFFFF) return std::nullopt;
  if (static_cast<std::uint64_t>(*id) >= tokens) {
    fail(ErrorCode::kInvalidData, "{}.{}: id {} of {} tokens", kName, key, *id, tokens);
  }
  return static_cast<std::int32_t>(*id);
}

}  // namespace

std::shared_ptr<const Tokenizer> tokenizer_from_gguf(const GgufTokenizerData& data) {
  check_lists(data);
  const Family family = family_of(data.pre);
  TokenizerParts parts;
  TokenTable table(fmt::format("{}.tokens", kName));
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const std::int32_t type = data.token_types.empty() ? kGgufNormal : data.token_types[i];
    const std::string_view text = data.tokens[i];
    if (type == kGgufControl || (type == kGgufUserDefined && !text.empty() && !is_placeholder(text, i))) {
      AddedToken token;
      token.content = text;
      token.id = id;
      token.special = type == kGgufControl;
      parts.added_tokens.push_back(std::move(token));
      table.reserve_id(id, text);
    } else if (type != kGgufUnused && !is_placeholder(text, i)) {
      table.add(text, id);
    } else {
      table.reserve_id(id, text);
    }
  }
  parts.vocabulary = table.build();
  if (family.by_rank) {
    parts.bpe = std::make_unique<Bpe>(parts.vocabulary);
  } else {
    MergeTable merges(fmt::format("{}.merges", kName), *parts.vocabulary);
    for (const std::string_view merge : data.merges) merges.add(merge);
    Bpe::Options options;
    options.ignore_merges = family.ignore_merges;
    parts.bpe = std::make_unique<Bpe>(parts.vocabulary, merges.merges(), options);
  }
  parts.pre_tokenizer = family.pre_tokenizer;
  parts.nfc = family.nfc;
  parts.bos_id = checked_id(data.bos_id, data.tokens.size(), "bos_token_id");
  parts.eos_id = checked_id(data.eos_id, data.tokens.size(), "eos_token_id");
  parts.eot_id = checked_id(data.eot_id, data.tokens.size(), "eot_token_id");
  parts.pad_id = checked_id(data.padding_id, data.tokens.size(), "padding_token_id");
  parts.adds_bos = data.add_bos.value_or(family.adds_bos) && parts.bos_id.has_value();
  parts.adds_eos = data.add_eos.value_or(false) && parts.eos_id.has_value();
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sampan
