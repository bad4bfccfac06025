#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

// Length of the run of ASCII at p, a whole number of words at a time; the rest is for the caller.
const char* skip_ascii(const char* p, const char* end) {
  while (p < end && static_cast<signed char>(*p) >= 0) ++p;
  return p;
}

struct Span {
  const char* begin;
  const char* end;
};

// The next stretch at or after p that may not be in normal form: from the last character that
// nothing before can combine with, to the next such character. begin == end == `end` if there is
// none. `start` bounds it on the left.
Span next_unnormalized(const UnicodeTable& table, const char* p, const char* end) {
  const char* boundary = p;
  std::uint8_t last_class = 0;
  const auto is_boundary = [&table](char32_t c) {
    return table.combining_class(c) == 0 && (table.mask(c) & kNfcCheck) == 0;
  };
  while (p < end) {
    const char* const after_ascii = skip_ascii(p, end);
    if (after_ascii != p) {
      p = after_ascii;
      boundary = p - 1;
      last_class = 0;
      if (p == end) break;
    }
    const CodePoint code_point = decode_utf8(p, end);
    const std::uint8_t combining = table.combining_class(code_point.value);
    const bool doubtful = (table.mask(code_point.value) & kNfcCheck) != 0 ||
                          (combining != 0 && combining < last_class);
    if (doubtful) {
      const char* stop = p + code_point.size;
      while (stop < end) {
        const CodePoint next = decode_utf8(stop, end);
        if (is_boundary(next.value)) break;
        stop += next.size;
      }
      return {boundary, stop};
    }
    if (combining == 0) boundary = p;
    last_class = combining;
    p += code_point.size;
  }
  return {end, end};
}

void decompose(char32_t code_point, std::vector<utf8proc_int32_t>& out) {
  utf8proc_int32_t buffer[8];
  int boundary_class = 0;
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), buffer, std::size(buffer),
                              UTF8PROC_DECOMPOSE, &boundary_class);
  SAMPAN_CHECK(count >= 1 && count <= static_cast<utf8proc_ssize_t>(std::size(buffer)));
  out.insert(out.end(), buffer, buffer + count);
}

// Appends the normal form of a stretch that starts at a boundary.
void append_normalized(const UnicodeTable& table, Span span, std::string& out) {
  const char* p = span.begin;
  const CodePoint first = decode_utf8(p, span.end);
  // A character that tokenizers' NFC does not know stays in front; so does a byte that is no
  // character.
  if (first.value == kInvalidByte || (table.mask(first.value) & kNfcForeign) != 0) {
    out.append(p, first.size);
    p += first.size;
  }
  std::vector<utf8proc_int32_t> points;
  while (p < span.end) {
    const CodePoint code_point = decode_utf8(p, span.end);
    decompose(code_point.value, points);
    p += code_point.size;
  }
  // utf8proc orders marks by insertion, which is quadratic in a long run of them; sorted before, it
  // has nothing to do.
  const auto combining = [&table](utf8proc_int32_t c) {
    return table.combining_class(static_cast<char32_t>(c));
  };
  for (auto run = points.begin(); run != points.end();) {
    const auto stop = std::find_if(run, points.end(), [&](auto c) { return combining(c) == 0; });
    std::stable_sort(run, stop, [&](auto a, auto b) { return combining(a) < combining(b); });
    run = stop == points.end() ? stop : stop + 1;
  }
  const auto count =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  SAMPAN_CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    append_utf8(out, static_cast<char32_t>(points[static_cast<std::size_t>(i)]));
  }
}

}  // namespace

bool surely_nfc(std::string_view text) {
  const char* const end = text.data() + text.size();
  return next_unnormalized(UnicodeTable::get(), text.data(), end).begin == end;
}

std::string nfc(std::string_view text, std::vector<NfcSpan>* changed) {
  const UnicodeTable& table = UnicodeTable::get();
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  std::string out;
  out.reserve(text.size() + text.size() / 16);
  const char* copied = begin;
  while (true) {
    const Span span = next_unnormalized(table, copied, end);
    out.append(copied, span.begin);
    if (span.begin == end) break;
    const std::size_t out_begin = out.size();
    append_normalized(table, span, out);
    if (changed != nullptr) {
      changed->push_back({static_cast<std::size_t>(span.begin - begin),
                          static_cast<std::size_t>(span.end - begin), out_begin, out.size()});
    }
    copied = span.end;
  }
  return out;
}

}  // namespace sampan
