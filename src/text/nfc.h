#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// True only if nfc(text) is text; false where it may not be. One pass, by the quick check of
// Unicode Standard Annex 15.
bool surely_nfc(std::string_view text);

// A part of the normalized text and the part of the input that it comes from, as byte ranges.
struct NfcSpan {
  std::size_t in_begin, in_end;
  std::size_t out_begin, out_end;
};

// Unicode normalization form C as Hugging Face tokenizers computes it: with the combining classes
// and compositions of Unicode 9, so that marks which are newer stay where they are
// (tools/make_unicode_table.py). Bytes that are not UTF-8 are kept as they are. O(n log n). When
// `changed` is given it receives, in order, the spans that were normalized; everything between them
// is copied.
std::string nfc(std::string_view text, std::vector<NfcSpan>* changed = nullptr);

}  // namespace sampan
