#pragma once

#include <string>
#include <string_view>

namespace sampan {

// Rewrites a pattern of tokenizer.json, which is Oniguruma's Ruby syntax, for PCRE2 (options UTF,
// UCP, MULTILINE) so that it means the same. Constructs that the two read differently are either
// translated (\v, \s, \p{Han}) or refused: throws Error kUnsupported naming the construct. Kimi's
// class intersections are refused too; that pattern has a scanner of its own (scanners.h). General
// categories and Han are those of UnicodeTable: characters that PCRE2 10.42 does not know are added
// to the properties in the pattern.
std::string to_pcre2_syntax(std::string_view pattern);

}  // namespace sampan
