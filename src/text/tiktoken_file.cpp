#include <algorithm>
#include <charconv>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_parts.h"

namespace sampan {
namespace {

constexpr const char* kTiktokenFile = "tiktoken.model";
constexpr std::int32_t kReservedTokens = 256;  // tokenization_kimi.py's num_reserved_special_tokens

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

// Appends what padded base64 stands for; false if `text` is none.
bool append_base64(std::string_view text, std::string& out) {
  if (text.empty() || text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size() - padding; ++i) {
    const int value = base64_value(text[i]);
    if (value < 0) return false;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    if (i % 4 != 0) out += static_cast<char>((bits >> (6 - 2 * (i % 4))) & 0xFF);
  }
  return true;
}

struct RankedToken {
  std::size_t offset, length;  // in the bytes of all
  std::int32_t rank;
};

class RankFile {
 public:
  explicit RankFile(std::string_view text) {
    for (std::size_t line = 1; !text.empty(); ++line) {
      const std::size_t end = text.find('\n');
      std::string_view current = text.substr(0, end);
      if (current.ends_with('\r')) current.remove_suffix(1);
      if (!current.empty()) read_line(current, line);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    if (tokens_.empty()) fail(ErrorCode::kInvalidData, "{}: no token in it", kTiktokenFile);
  }

  // The vocabulary with room for the special tokens behind it. The ranks are the ids 0..count-1.
  std::shared_ptr<Vocabulary> build() const {
    auto vocabulary = std::make_shared<Vocabulary>(tokens_.size() + kReservedTokens);
    for (const RankedToken& token : tokens_) {
      const std::string_view bytes = std::string_view(bytes_).substr(token.offset, token.length);
      if (static_cast<std::size_t>(token.rank) >= tokens_.size()) {
        fail(ErrorCode::kInvalidData, "{}: rank {} of {} tokens", kTiktokenFile, token.rank,
             tokens_.size());
      }
      if (vocabulary->has(token.rank))
        fail(ErrorCode::kInvalidData, "{}: two tokens of rank {}", kTiktokenFile, token.rank);
      vocabulary->set(token.rank, bytes, true);
    }
    return vocabulary;
  }

 private:
  void read_line(std::string_view line, std::size_t number) {
    const std::size_t space = line.find(' ');
    RankedToken token{bytes_.size(), 0, 0};
    const std::string_view digits =
        space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), token.rank);
    if (digits.empty() || result.ec != std::errc() || result.ptr != digits.data() + digits.size() ||
        token.rank < 0 || !append_base64(line.substr(0, space), bytes_)) {
      fail(ErrorCode::kInvalidData, "{}: line {} '{}' is not 'base64 rank'", kTiktokenFile, number,
           printable(line, 60));
    }
    token.length = bytes_.size() - token.offset;
    tokens_.push_back(token);
    if (tokens_.size() > static_cast<std::size_t>(Vocabulary::kMaxTokens - kReservedTokens)) {
      fail(ErrorCode::kLimit, "{}: more than {} tokens", kTiktokenFile,
           Vocabulary::kMaxTokens - kReservedTokens);
    }
  }

  std::string bytes_;
  std::vector<RankedToken> tokens_;
};

std::vector<AddedToken> special_tokens(const TokenizerConfig& config, std::int32_t first) {
  std::vector<AddedToken> tokens;
  for (std::int32_t id = first; id < first + kReservedTokens; ++id) {
    const auto named = std::find_if(config.added_tokens.begin(), config.added_tokens.end(),
                                    [id](const AddedToken& token) { return token.id == id; });
    AddedToken token;
    token.id = id;
    token.content = named == config.added_tokens.end() ? fmt::format("<|reserved_token_{}|>", id)
                                                       : named->content;
    token.special = named == config.added_tokens.end() || named->special;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tiktoken(std::string_view ranks,
                                               const TokenizerConfig& config) {
  TokenizerParts parts;
  parts.vocabulary = RankFile(ranks).build();
  parts.bpe = std::make_unique<Bpe>(parts.vocabulary);
  parts.pre_tokenizer = pre_tokenizer_by_name("kimi-k2");
  const auto first = static_cast<std::int32_t>(parts.vocabulary->size()) - kReservedTokens;
  for (const AddedToken& token : config.added_tokens) {
    if (token.id < first || token.id >= first + kReservedTokens) {
      fail(ErrorCode::kInvalidData,
           "tokenizer_config.json: token '{}' has the id {}, not one of {}..{}",
           printable(token.content), token.id, first, first + kReservedTokens - 1);
    }
  }
  parts.added_tokens = special_tokens(config, first);
  apply_config(config, parts);
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sampan
