#include "text/tokenizer.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/nfc.h"
#include "text/tokenizer_parts.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxTextBytes = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kKeepScratchBytes = 4u << 20;
// NFC makes UTF-8 shorter by no more: the worst are U+1FBE U+0308 U+0301, seven bytes that become
// the two of U+0390.
constexpr std::size_t kNfcShrinks = 4;

// Text and which of it is trusted, as disjoint ascending ranges.
struct MarkedText {
  std::string_view text;
  std::vector<TextRange> trusted;
};

std::vector<TextRange> slice_ranges(const std::vector<TextRange>& ranges, TextRange part) {
  std::vector<TextRange> out;
  auto range =
      std::lower_bound(ranges.begin(), ranges.end(), part.begin,
                       [](const TextRange& r, std::size_t begin) { return r.end <= begin; });
  for (; range != ranges.end() && range->begin < part.end; ++range) {
    out.push_back({std::max(range->begin, part.begin) - part.begin,
                   std::min(range->end, part.end) - part.begin});
  }
  return out;
}

MarkedText slice(const MarkedText& whole, TextRange part) {
  return {whole.text.substr(part.begin, part.end - part.begin), slice_ranges(whole.trusted, part)};
}

// Carries the ranges through normalization: a span that was normalized is trusted if all of it was.
std::vector<TextRange> map_ranges(const std::vector<TextRange>& ranges,
                                  const std::vector<NfcSpan>& changed, std::size_t in_size) {
  std::vector<TextRange> out;
  const auto add = [&out](std::size_t begin, std::size_t end) {
    if (begin == end) return;
    if (!out.empty() && out.back().end == begin) {
      out.back().end = end;
    } else {
      out.push_back({begin, end});
    }
  };
  const auto add_copied = [&](TextRange in, std::size_t out_begin) {
    for (const TextRange& r : slice_ranges(ranges, in)) add(out_begin + r.begin, out_begin + r.end);
  };
  std::size_t in = 0, at = 0;
  for (const NfcSpan& span : changed) {
    add_copied({in, span.in_begin}, at);
    const auto inside = slice_ranges(ranges, {span.in_begin, span.in_end});
    const bool whole =
        inside.size() == 1 && inside[0].end - inside[0].begin == span.in_end - span.in_begin;
    if (whole) add(span.out_begin, span.out_end);
    in = span.in_end;
    at = span.out_end;
  }
  add_copied({in, in_size}, at);
  return out;
}

// 151643 as "151,643".
std::string grouped(std::size_t number) {
  const std::string digits = std::to_string(number);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

// What one call of encode needs; kept by the tokenizer for the next call.
struct Scratch {
  PreTokenizerScratch pieces;
  BpeScratch bpe;
  std::vector<AddedTokenFinder::Match> matches;
};

}  // namespace

struct Tokenizer::State {
  explicit State(TokenizerParts from) : parts(std::move(from)) {}

  TokenizerParts parts;
  AddedTokenFinder raw_finder;         // looked for before normalization
  AddedTokenFinder normalized_finder;  // and after it
  std::vector<AddedToken> normalized_tokens;
  std::unordered_map<std::string_view, std::int32_t> added_ids;
  std::vector<bool> special;
  std::size_t bytes_per_token = 0;  // that one token can stand for at most; 0: any number

  std::mutex mutex;
  std::vector<std::unique_ptr<Scratch>> idle;

  void add_tokens();
  void measure_tokens();
  std::unique_ptr<Scratch> take_scratch();
  void encode(const MarkedText& marked, std::vector<std::int32_t>& ids);
  void encode_between(const MarkedText& marked, Scratch& scratch,
                      std::vector<std::int32_t>& ids) const;
  void encode_normalized(const MarkedText& marked, Scratch& scratch,
                         std::vector<std::int32_t>& ids) const;
  void encode_plain(std::string_view text, Scratch& scratch, std::vector<std::int32_t>& ids) const;
};

void Tokenizer::State::add_tokens() {
  auto& tokens = parts.added_tokens;
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  special.assign(parts.vocabulary->size(), false);
  std::vector<const AddedToken*> raw;
  normalized_tokens.reserve(tokens.size());
  for (const AddedToken& token : tokens) {
    SAMPAN_CHECK(token.id >= 0 && static_cast<std::size_t>(token.id) < special.size());
    special[static_cast<std::size_t>(token.id)] = token.special;
    // An added token that is in the vocabulary keeps its bytes there ("é" stands for one byte in
    // the byte alphabet).
    if (!parts.vocabulary->has(token.id)) parts.vocabulary->set(token.id, token.content, false);
    added_ids[token.content] = token.id;
    if (token.normalized) {
      normalized_tokens.push_back(token);
      if (parts.nfc) normalized_tokens.back().content = nfc(token.content);
    } else {
      raw.push_back(&token);
    }
  }
  std::vector<const AddedToken*> normalized;
  for (const AddedToken& token : normalized_tokens) normalized.push_back(&token);
  raw_finder = AddedTokenFinder(std::move(raw));
  normalized_finder = AddedTokenFinder(std::move(normalized));
}

void Tokenizer::State::measure_tokens() {
  const Vocabulary& vocabulary = *parts.vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    const bool is_in_utf8 = byte < 0xF5 && byte != 0xC0 && byte != 0xC1;
    const char text = static_cast<char>(byte);
    // A byte without a token is left out, or a run of them is one token.
    if (is_in_utf8 && vocabulary.find({&text, 1}) == Vocabulary::kNone) return;
  }
  std::size_t longest = 1;
  for (const AddedToken& token : parts.added_tokens) {
    if (token.lstrip || token.rstrip) return;  // takes any amount of white space along
    longest = std::max(longest, token.content.size());
  }
  for (std::size_t id = 0; id < vocabulary.size(); ++id)
    longest = std::max(longest, vocabulary.bytes(static_cast<std::int32_t>(id)).size());
  bytes_per_token = parts.nfc ? longest * kNfcShrinks : longest;
}

std::unique_ptr<Scratch> Tokenizer::State::take_scratch() {
  {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      auto scratch = std::move(idle.back());
      idle.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>();
}

void Tokenizer::State::encode(const MarkedText& marked, std::vector<std::int32_t>& ids) {
  if (marked.text.size() > kMaxTextBytes) {
    fail(ErrorCode::kLimit, "tokenizer: a text of {} bytes, at most {} are supported",
         marked.text.size(), kMaxTextBytes);
  }
  auto scratch = take_scratch();
  encode_between(marked, *scratch, ids);
  if (marked.text.size() > kKeepScratchBytes) return;  // its buffers have grown with the text
  const std::lock_guard lock(mutex);
  idle.push_back(std::move(scratch));
}

namespace {

// Calls plain(range) and token(added token) in the order of the text, for the matches of `finder`
// and what is left between them.
template <typename Plain, typename Token>
void for_each_stretch(const AddedTokenFinder& finder, const MarkedText& marked,
                      std::vector<AddedTokenFinder::Match>& matches, Plain plain, Token token) {
  matches.clear();
  finder.find(marked.text, marked.trusted, matches);
  if (matches.empty()) {
    if (!marked.text.empty()) plain(TextRange{0, marked.text.size()});
    return;
  }
  std::size_t at = 0;
  // plain() may use the scratch that `matches` is a part of.
  const std::vector<AddedTokenFinder::Match> found = std::move(matches);
  for (const auto& match : found) {
    if (at < match.range.begin) plain(TextRange{at, match.range.begin});
    token(*match.token);
    at = match.range.end;
  }
  if (at < marked.text.size()) plain(TextRange{at, marked.text.size()});
}

}  // namespace

void Tokenizer::State::encode_between(const MarkedText& marked, Scratch& scratch,
                                      std::vector<std::int32_t>& ids) const {
  for_each_stretch(
      raw_finder, marked, scratch.matches,
      [&](TextRange part) { encode_normalized(slice(marked, part), scratch, ids); },
      [&](const AddedToken& token) { ids.push_back(token.id); });
}

void Tokenizer::State::encode_normalized(const MarkedText& marked, Scratch& scratch,
                                         std::vector<std::int32_t>& ids) const {
  MarkedText current = marked;
  std::string normalized;
  if (parts.nfc && !surely_nfc(marked.text)) {
    std::vector<NfcSpan> changed;
    normalized = nfc(marked.text, &changed);
    current = {normalized, map_ranges(marked.trusted, changed, marked.text.size())};
  }
  for_each_stretch(
      normalized_finder, current, scratch.matches,
      [&](TextRange part) {
        encode_plain(current.text.substr(part.begin, part.end - part.begin), scratch, ids);
      },
      [&](const AddedToken& token) { ids.push_back(token.id); });
}

void Tokenizer::State::encode_plain(std::string_view text, Scratch& scratch,
                                    std::vector<std::int32_t>& ids) const {
  parts.pre_tokenizer->split(text, scratch.pieces);
  for (const std::string_view piece : scratch.pieces.pieces)
    parts.bpe->encode(piece, scratch.bpe, ids);
}

Tokenizer::Tokenizer(TokenizerParts parts) : state_(std::make_unique<State>(std::move(parts))) {
  state_->add_tokens();
  state_->measure_tokens();
}

Tokenizer::~Tokenizer() = default;

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  const TextPiece piece{text, special == SpecialTokens::kParse};
  return encode(std::span(&piece, 1));
}

std::vector<std::int32_t> Tokenizer::encode(std::span<const TextPiece> pieces) const {
  MarkedText marked;
  std::string joined;
  std::size_t size = 0;
  for (const TextPiece& piece : pieces) size += piece.text.size();
  if (pieces.size() == 1) {
    marked.text = pieces[0].text;
  } else {
    joined.reserve(size);
    for (const TextPiece& piece : pieces) joined += piece.text;
    marked.text = joined;
  }
  std::size_t at = 0;
  for (const TextPiece& piece : pieces) {
    const std::size_t end = at + piece.text.size();
    if (piece.trusted && at < end) {
      if (!marked.trusted.empty() && marked.trusted.back().end == at) {
        marked.trusted.back().end = end;
      } else {
        marked.trusted.push_back({at, end});
      }
    }
    at = end;
  }
  std::vector<std::int32_t> ids;
  ids.reserve(size / 4 + 8);
  state_->encode(marked, ids);
  return ids;
}

std::size_t Tokenizer::least_tokens(std::size_t bytes) const {
  const std::size_t most = state_->bytes_per_token;
  return most == 0 ? 0 : bytes / most + (bytes % most == 0 ? 0 : 1);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string out;
  for (const std::int32_t id : ids) {
    if (!(skip_special && is_special(id))) out += token_bytes(id);
  }
  return out;
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  return state_->parts.vocabulary->bytes(id);
}

bool Tokenizer::has_token(std::int32_t id) const { return state_->parts.vocabulary->has(id); }

bool Tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < state_->special.size() &&
         state_->special[static_cast<std::size_t>(id)];
}

std::optional<std::int32_t> Tokenizer::token_id(std::string_view content) const {
  if (const auto added = state_->added_ids.find(content); added != state_->added_ids.end())
    return added->second;
  const std::int32_t id = state_->parts.vocabulary->find(content);
  if (id == Vocabulary::kNone) return std::nullopt;
  return id;
}

std::size_t Tokenizer::vocab_size() const { return state_->parts.vocabulary->size(); }

std::span<const AddedToken> Tokenizer::added_tokens() const { return state_->parts.added_tokens; }

std::optional<std::int32_t> Tokenizer::bos_id() const { return state_->parts.bos_id; }
std::optional<std::int32_t> Tokenizer::eos_id() const { return state_->parts.eos_id; }
std::optional<std::int32_t> Tokenizer::pad_id() const { return state_->parts.pad_id; }
std::optional<std::int32_t> Tokenizer::eot_id() const { return state_->parts.eot_id; }
bool Tokenizer::adds_bos() const { return state_->parts.adds_bos; }
bool Tokenizer::adds_eos() const { return state_->parts.adds_eos; }

std::string_view Tokenizer::pattern_family() const { return state_->parts.pre_tokenizer->family(); }

std::string Tokenizer::description() const {
  const TokenizerParts& parts = state_->parts;
  const std::size_t merges = parts.bpe->merge_count();
  std::string text = fmt::format("byte-level BPE, {} tokens ({} added), ", grouped(vocab_size()),
                                 grouped(parts.added_tokens.size()));
  text += merges > 0 ? fmt::format("{} merges, ", grouped(merges)) : "tiktoken ranks, ";
  text += fmt::format("{} pattern", parts.pre_tokenizer->family());
  if (parts.nfc) text += ", NFC";
  return text;
}

}  // namespace sampan
