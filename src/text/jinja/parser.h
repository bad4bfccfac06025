#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace sampan::jinja {

inline constexpr std::size_t kMaxSourceBytes = 4u << 20;
// Statements within statements, expressions within expressions.
inline constexpr int kMaxParseDepth = 200;
// The height of one expression's tree; a + b + c + … is as high as it is long.
inline constexpr int kMaxExpressionDepth = 250;

// Parses a template (grammar of Jinja 3.1 with the tags break, continue and generation) and runs
// the scope pass over it. `source` is UTF-8. Throws Error kInvalidData "line N: …" for a syntax
// error, kUnsupported for what this interpreter leaves out ({% autoescape %}), kLimit for a source
// or nesting too large.
TemplateTree parse_template(std::string_view source);

}  // namespace sampan::jinja
