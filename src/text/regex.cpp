#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>
#include <time.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/pattern_syntax.h"
#include "text/utf8.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxPatternBytes = 64u << 10;
constexpr std::uint32_t kMatchLimit = 1'000'000;  // backtracks for one start
constexpr std::uint32_t kHeapLimitKib = 64u << 10;
constexpr std::size_t kStartsPerCall = 256;  // starts tried between two looks at the clock
constexpr double kSecondsLimit = 60;         // of the thread's processor time for one text

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

std::string error_text(int error) {
  PCRE2_UCHAR buffer[256];
  const int length = pcre2_get_error_message(error, buffer, sizeof buffer);
  return length < 0 ? "unknown error" : std::string(reinterpret_cast<const char*>(buffer));
}

// A copy of `text` with control characters for bytes that are no UTF-8; nothing if there are none.
std::optional<std::string> as_utf8(std::string_view text) {
  std::optional<std::string> copy;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  for (const char* p = begin; p < end;) {
    const CodePoint c = decode_utf8(p, end);
    if (c.value == kInvalidByte) {
      if (!copy) copy = std::string(text);
      (*copy)[static_cast<std::size_t>(p - begin)] = '\x01';
    }
    p += c.size;
  }
  return copy;
}

}  // namespace

struct Regex::Code {
  CodePtr code;
};

Regex::Regex(std::string_view pattern) : pattern_(pattern), code_(std::make_unique<Code>()) {
  if (pattern.size() > kMaxPatternBytes) {
    fail(ErrorCode::kLimit,
         "tokenizer: pre-tokenizer pattern of {} bytes, at most {} are supported", pattern.size(),
         kMaxPatternBytes);
  }
  const std::string translated = to_pcre2_syntax(pattern);
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 50);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code.reset(pcre2_compile(
      units(translated), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      &error, &offset, context.get()));
  if (code_->code == nullptr) {
    fail(ErrorCode::kInvalidData, "tokenizer: pre-tokenizer pattern '{}' at byte {}: {}",
         printable(pattern, 120), offset, error_text(error));
  }
  // Without executable memory there is no JIT; matching then interprets.
  pcre2_jit_compile(code_->code.get(), PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;

namespace {

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One left-to-right search through a text.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view text, std::string_view pattern)
      : code_(code),
        text_(text),
        pattern_(pattern),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context_.get(), kMatchLimit);
    pcre2_set_heap_limit(context_.get(), kHeapLimitKib);
  }

  // The first match at or after `start`.
  std::optional<TextRange> find(std::size_t start) {
    for (std::size_t from = start; from <= text_.size();) {
      const std::size_t to = std::min(text_.size(), from + kStartsPerCall);
      pcre2_set_offset_limit(context_.get(), to);
      const int result = match(from);
      if (result > 0) {
        const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(data_.get());
        return TextRange{ends[0], ends[1]};
      }
      if (to == text_.size()) break;
      from = to + 1;
      while (from < text_.size() && (static_cast<unsigned char>(text_[from]) & 0xC0) == 0x80)
        ++from;
      check_time();
    }
    return std::nullopt;
  }

  void check_time() {
    if (thread_seconds() - begin_ > kSecondsLimit) {
      fail(ErrorCode::kLimit,
           "tokenizer: pre-tokenizer pattern '{}' takes more than a minute on {} bytes",
           printable(pattern_, 120), text_.size());
    }
  }

 private:
  // As pcre2_match, with PCRE2_ERROR_NOMATCH (negative) as the only error.
  int match(std::size_t from) {
    int result = run(from, PCRE2_NO_UTF_CHECK);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH) return result == 0 ? 1 : result;
    fail(ErrorCode::kLimit, "tokenizer: pre-tokenizer pattern '{}' fails on {} bytes of text: {}",
         printable(pattern_, 120), text_.size(), error_text(result));
  }
  int run(std::size_t from, std::uint32_t options) {
    return pcre2_match(code_, units(text_), text_.size(), from, options, data_.get(),
                       context_.get());
  }

  const pcre2_code* code_;
  std::string_view text_;
  std::string_view pattern_;
  MatchData data_;
  MatchContext context_;
  double begin_ = thread_seconds();
};

}  // namespace

void Regex::find_all(std::string_view text, std::vector<TextRange>& matches) const {
  const std::optional<std::string> copy = as_utf8(text);
  Search search(code_->code.get(), copy ? std::string_view(*copy) : text, pattern_);
  std::size_t from = 0;
  std::optional<std::size_t> last_end;
  for (std::size_t calls = 0; from <= text.size(); ++calls) {
    if (calls % kStartsPerCall == 0) search.check_time();
    const auto found = search.find(from);
    if (!found) return;
    // An empty match right behind the last match is passed over.
    if (found->begin >= found->end && last_end == found->end) {
      if (from >= text.size()) return;
      const std::string_view rest = copy ? std::string_view(*copy).substr(from) : text.substr(from);
      from += decode_utf8(rest.data(), rest.data() + rest.size()).size;
      continue;
    }
    matches.push_back({found->begin, std::max(found->begin, found->end)});
    from = found->end;
    last_end = found->end;
  }
}

}  // namespace sampan
