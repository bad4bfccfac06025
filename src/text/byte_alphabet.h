#pragma once

#include <string>
#include <string_view>

namespace sampan {

// GPT-2's byte alphabet, in which byte-level vocabularies are written: the printable bytes 33-126,
// 161-172 and 174-255 stand for themselves as code points, the other 68 bytes in ascending order
// are U+0100..U+0143 (space is U+0120).

// Appends the bytes that `text` (UTF-8) spells. Returns false, appending nothing, when a character
// is outside the alphabet.
bool append_alphabet_bytes(std::string_view text, std::string& bytes);

}  // namespace sampan
