#pragma once

#include <memory>
#include <string_view>

#include "text/scanners.h"

namespace sampan {

// Scanners for simple patterns, as the steps of DeepSeek's pre-tokenizers are:
//   [\s?]CLASS[+|{1,N}|{1}] with CLASS = \p{NAME} or a bracket expression of characters, ranges, \r
//   \n \t, escaped punctuation and \p{NAME}, not negated; and \s+$.
// nullptr for any other pattern.
std::unique_ptr<PieceSplitter> make_class_run_splitter(std::string_view pattern);

// tokenizers' Digits: every digit alone, or runs of them.
std::unique_ptr<PieceSplitter> make_digit_splitter(bool individual);

}  // namespace sampan
