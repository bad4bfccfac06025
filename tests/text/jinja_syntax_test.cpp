// Whitespace control, scoping and the grammar's corners.
#include <gtest/gtest.h>

#include "text/jinja_support.h"

namespace sampan::jinja {
namespace {

struct Case {
  const char* source;
  const char* expected;
};

class JinjaSyntax : public ::testing::TestWithParam<Case> {};

TEST_P(JinjaSyntax, Renders) {
  EXPECT_EQ(render(GetParam().source, R"({"x": "X", "xs": [1, 2, 3], "d": {"a": 1, "items": 2}})"),
            GetParam().expected)
      << GetParam().source;
}

INSTANTIATE_TEST_SUITE_P(
    Whitespace, JinjaSyntax,
    ::testing::Values(Case{"a\n", "a"}, Case{"a\n\n", "a\n"}, Case{"a\r\nb\rc", "a\nb\nc"},
                    Case{"  {% if true %}\n  b\n  {% endif %}\nc", "  b\nc"},
                    Case{"a {% if true %} b {% endif %} c", "a  b  c"},
                    Case{"a {%- if true -%} b {%- endif -%} c", "abc"},
                    Case{"a\n  {%+ if true %}b{% endif %}", "a\n  b"},
                    Case{"{% if true +%}\nb{% endif %}", "\nb"}, Case{"{{ x }}\n{{ x }}", "X\nX"},
                    Case{"a  {{- x -}}  b", "aXb"}, Case{"a\n{# c #}\nb", "a\nb"},
                    Case{"a {#- c -#} b", "ab"}, Case{"{% raw %}{{ x }}{% endraw %}", "{{ x }}"},
                    Case{"{% raw -%}  {{ x }}  {%- endraw %}", "{{ x }}"},
                    Case{"\u3000{%- if true %}b{% endif %}", "b"}));

INSTANTIATE_TEST_SUITE_P(
    Scopes, JinjaSyntax,
    ::testing::Values(
        Case{"{% set y = 1 %}{% for i in xs %}{% set y = i %}{% endfor %}{{ y }}", "1"},
        Case{"{% if true %}{% set y = 2 %}{% endif %}{{ y }}", "2"},
        Case{"{% for i in xs %}{{ x }}{% endfor %}{% set x = 'late' %}", ""},
        Case{"{% if false %}{% set x = 'no' %}{% endif %}{{ x }}", "X"},
        Case{"{% set ns = namespace(n=0) %}{% for i in xs %}{% set ns.n = ns.n + i %}{% endfor "
             "%}{{ ns.n }}",
             "6"},
        Case{"{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}", "1112"},
        Case{"{% macro m() %}{{ y }}{% endmacro %}{% set y = 5 %}{{ m() }}", "5"},
        Case{"{% with y = 1, z = y %}{{ y }}{{ z }}{% endwith %}", "1"},
        Case{"{% set a, (b, c) = 1, 'de' %}{{ a }}{{ b }}{{ c }}", "1de"},
        Case{"{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}", "a1items2"},
        Case{"{% for i in xs if i > 1 %}{{ loop.index }}{{ loop.last }} {% endfor %}",
             "1False 2True "},
        Case{"{% for i in [] %}{% else %}none{% endfor %}", "none"},
        Case{"{% for i in xs %}{% continue %}{% else %}none{% endfor %}", "none"},
        Case{"{% for i in xs %}{{ i }}{% break %}{% endfor %}", "1"},
        Case{"{% for n in [[1, [2]], 3] recursive %}{{ loop.depth }}{{ loop(n) if n is sequence "
             "else n }}{% endfor %}",
             "12123213"},
        Case{"{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(v) m() %}<{{ v }}>{% endcall %}",
             "<1>"}));

INSTANTIATE_TEST_SUITE_P(
    Grammar, JinjaSyntax,
    ::testing::Values(Case{"{{ 1 if false }}", ""}, Case{"{{ -5|abs }}", "5"},
                    Case{"{{ 2**3**2 }}", "64"}, Case{"{{ 1 < 2 < 3 > 1 }}", "True"},
                    Case{"{{ 'a' 'b' }}", "ab"},
                    Case{"{{ xs is sequence and x is not none }}", "True"},
                    Case{"{{ 3 is divisibleby 3 }}", "True"}, Case{"{{ xs.1 }}{{ xs[-1] }}", "23"},
                    Case{"{{ d.items is callable }}{{ d['items'] }}", "True2"},
                    Case{"{{ '\\u00e9\\x41\\n' }}", "éA\n"}, Case{"{{ '\\é' }}", "\\xe9"},
                    Case{"{{ 1_000 + 0x1F + 0b11 + 0o7 + 1e2 }}", "1141.0"},
                    Case{"{{ (1,) ~ () ~ [1,] ~ {} }}", "(1,)()[1]{}"},
                    Case{"{{ not x in 'aXb' }}", "False"},
                    Case{"{{ x if x else 1 if 2 else 3 }}", "X"}));

TEST(JinjaErrors, NameTheLine) {
  const auto message = [](std::string_view source) -> std::string {
    try {
      parse_template(source);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("a\n{% if %}").substr(0, 7), "line 2:");
  EXPECT_EQ(message("{% endif %}").substr(0, 7), "line 1:");
  EXPECT_EQ(message("\n\n{{ x|nosuch }}"), "line 3: No filter named 'nosuch'.");
  EXPECT_EQ(message("{% if x %}{{ x|nosuch }}{% endif %}"), "");
  EXPECT_NE(message("{% for i in x %}{{ loop }}{% set loop = 1 %}{% endfor %}"), "");
  EXPECT_NE(message("{% break %}"), "");
  EXPECT_NE(message("{{ f(a=1, a=2) }}"), "");
  EXPECT_NE(message("{% macro m(a, a) %}{% endmacro %}"), "");
  EXPECT_NE(message("{{ 'open }}"), "");
  EXPECT_NE(message("{# open"), "");
  EXPECT_NE(message("{% raw %} open"), "");
  EXPECT_NE(message("{{ ) }}"), "");
  EXPECT_NE(message("{% unknown %}"), "");
}

TEST(JinjaErrors, WhatTheSandboxForbids) {
  EXPECT_EQ(render_error("{{ xs.append(1) }}", R"({"xs": []})"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render("{{ xs.append }}|{{ xs.__class__ }}|{{ nope.__class__ }}", R"({"xs": []})"),
            "||");
  EXPECT_EQ(render_error("{{ xs.__class__.mro() }}", R"({"xs": []})"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{% set ns = namespace(_a=1) %}"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{% set d.a = 1 %}", R"({"d": {}})"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{% include 'x' %}"), ErrorCode::kInvalidArgument);
}

TEST(JinjaErrors, Undefined) {
  EXPECT_EQ(render("[{{ nope }}][{{ nope|length }}][{% for i in nope %}x{% endfor %}]"), "[][0][]");
  EXPECT_EQ(render_error("{{ nope.x }}"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{{ nope + 1 }}"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{{ nope() }}"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{{ nope < 1 }}"), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace sampan::jinja
