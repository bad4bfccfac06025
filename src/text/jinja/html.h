#pragma once

#include "text/jinja/text.h"

namespace sampan::jinja {

class Interpreter;

// Replaces character references: numeric ones and &amp; &lt; &gt; &quot; &apos; &nbsp;. Throws
// Error kUnsupported for another name.
Text unescape_html(Interpreter& interpreter, const Text& text);
// Without comments and tags, whitespace collapsed, then unescaped (Markup.striptags).
Text strip_tags(Interpreter& interpreter, const Text& text);

}  // namespace sampan::jinja
