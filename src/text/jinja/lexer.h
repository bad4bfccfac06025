#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sampan::jinja {

enum class TokenType : std::uint8_t {
  kEnd,
  kData,  // template text
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kTilde,
  kLeftBracket,
  kRightBracket,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kEq,
  kNe,
  kGt,
  kGtEq,
  kLt,
  kLtEq,
  kAssign,
  kDot,
  kColon,
  kPipe,
  kComma,
  kSemicolon,
};

struct Token {
  TokenType type;
  std::uint32_t line;  // 1-based
  std::string value;   // the text, the name, the string unescaped, the numeral without underscores
};

// What a message calls a token.
std::string describe(const Token& token);

// Splits a template as Jinja's lexer does with trim_blocks and lstrip_blocks set and one trailing
// newline dropped: whitespace control, comments and raw blocks are settled here. `source` is UTF-8.
// Throws Error kInvalidData "line N: …" for what is no template.
std::vector<Token> tokenize(std::string_view source);

}  // namespace sampan::jinja
