// Text through every family: decoding restores it, pieces equal the whole, untrusted text never
// yields an added token, and the hand-written scanners agree with PCRE2. The first byte picks the
// family, the second the cuts.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/gguf_tokenizer.h"
#include "text/nfc.h"
#include "text/pretokenizer.h"
#include "text/scanners.h"
#include "text/stream_decoder.h"

namespace {

using namespace sampan;

constexpr std::array kFamilies = {"gpt-2",   "llama-bpe",   "qwen2",        "qwen35",
                                  "llama4",  "deepseek-v3", "deepseek-llm", "deepseek-coder",
                                  "kimi-k2", "seed-coder"};
constexpr std::int32_t kFirstAdded = 264;

std::shared_ptr<const Tokenizer> make_tokenizer(std::string_view family) {
  std::vector<std::string> tokens;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool own = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int c = own ? byte : next++;
    tokens.emplace_back(1, static_cast<char>(c));
    if (c >= 0x80)
      tokens.back() = {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
  }
  const std::vector<std::string> merges = {"a a",   "aa aa", "Ġ a", "a b",
                                           "ab aa", "Ġ Ġ",   "' s", "1 1"};
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  tokens.insert(tokens.end(), {"<|x|>", "<think>", "é"});
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = family;
  data.tokens.assign(tokens.begin(), tokens.end());
  data.token_types.assign(tokens.size(), 1);
  data.token_types[kFirstAdded] = 3;
  data.token_types[kFirstAdded + 1] = data.token_types[kFirstAdded + 2] = 4;
  data.merges.assign(merges.begin(), merges.end());
  return tokenizer_from_gguf(data);
}

// `normalizes`: the family brings text into NFC. It does so between added tokens, so which of them
// are parsed decides what is composed; only the text in NFC is the same then.
void check_pieces(const Tokenizer& tokenizer, bool normalizes, std::string_view text,
                  std::size_t cut) {
  const auto plain = tokenizer.encode(text, SpecialTokens::kPlainText);
  for (const std::int32_t id : plain) SAMPAN_CHECK(id < kFirstAdded);
  std::vector<TextPiece> pieces;
  for (std::size_t at = 0; at < text.size(); at += cut)
    pieces.push_back({text.substr(at, cut), false});
  SAMPAN_CHECK(tokenizer.encode(pieces) == plain);
  for (TextPiece& piece : pieces) piece.trusted = true;
  const auto parsed = tokenizer.encode(pieces);
  SAMPAN_CHECK(parsed == tokenizer.encode(text));
  for (std::size_t i = 0; i < pieces.size(); i += 2) pieces[i].trusted = false;
  const std::string mixed = tokenizer.decode(tokenizer.encode(pieces), false);
  const std::string all_parsed = tokenizer.decode(parsed, false);
  SAMPAN_CHECK(normalizes ? nfc(mixed) == nfc(all_parsed) : mixed == all_parsed);
}

void check_scanner(const KnownPattern& known, std::string_view text) {
  static std::array<std::shared_ptr<const PieceSplitter>, 16> regexes;
  if (known.name == "kimi-k2") return;  // PCRE2 has no class intersections
  auto& regex = regexes[static_cast<std::size_t>(&known - known_patterns().data())];
  if (regex == nullptr) regex = make_regex_split(known.pattern, SplitBehavior::kIsolated, false);
  std::vector<std::string_view> wanted, got;
  regex->split(text, wanted);
  known.make()->split(text, got);
  SAMPAN_CHECK(wanted == got);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::array<std::shared_ptr<const Tokenizer>, kFamilies.size()> tokenizers;
  if (size < 2) return 0;
  const std::size_t family = data[0] % kFamilies.size();
  auto& tokenizer = tokenizers[family];
  if (tokenizer == nullptr) tokenizer = make_tokenizer(kFamilies[family]);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view name = kFamilies[family];
  const bool normalizes = name == "qwen2" || name == "qwen35";
  const std::string wanted = normalizes ? nfc(text) : std::string(text);
  SAMPAN_CHECK(tokenizer->decode(tokenizer->encode(text, SpecialTokens::kPlainText), false) ==
               wanted);
  check_pieces(*tokenizer, normalizes, text, 1 + data[1] % 16);
  if (const KnownPattern* known =
          family < known_patterns().size() ? &known_patterns()[family] : nullptr) {
    check_scanner(*known, text);
  }
  return 0;
}
