// Whatever a template does, it ends: within its limits or with an error.
#include <gtest/gtest.h>

#include <ctime>

#include "text/chat_template.h"
#include "text/jinja_support.h"

namespace sampan::jinja {
namespace {

class JinjaLimit : public ::testing::TestWithParam<const char*> {};

TEST_P(JinjaLimit, IsAnError) {
  Limits limits;
  limits.max_memory_bytes = 32u << 20;
  EXPECT_EQ(render_error(GetParam(), "{}", limits), ErrorCode::kLimit) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(
    Templates, JinjaLimit,
    ::testing::Values(
        "{{ 'x' * 10**9 }}", "{{ [1] * 10**9 }}", "{{ range(10**12) }}", "{{ range(10**30) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = ns.l + ns.l %}{% "
        "endfor %}",
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor "
        "%}",
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = ns.l|map('upper') "
        "%}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [1]|map('d', ns.l) "
        "%}{% endfor %}",
        "{% set ns = namespace(n=2) %}{% for i in range(64) %}{% set ns.n = ns.n * ns.n %}{% "
        "endfor %}",
        "{{ 10 ** (10 ** 10) }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% set ns = namespace(l=[1, 1]) %}{% for i in range(50) %}{% set ns.l = [ns.l, ns.l] %}{% "
        "endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1, 1]) %}{% for i in range(50) %}{% set ns.l = [ns.l, ns.l] %}{% "
        "endfor %}{{ ns.l|tojson }}",
        "{% set ns = namespace(l=[1, 1], m=[1, 1]) %}{% for i in range(50) %}{% set ns.l = [ns.l, "
        "ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        "{% set ns = namespace(p=0) %}{% for i in range(999) %}{% set ns.p = namespace(q=[ns.p]) "
        "%}{% endfor %}{{ ns.p }}",
        "{{ '%999999999d' % 5 }}", "{{ '{:999999999}'.format(5) }}", "{{ 'x'.center(10**10) }}",
        "{{ ('ab' * 10**6).replace('a', 'y' * 10**6) }}",
        "{{ ('a' * 10**6).replace('', 'y' * 10**6) }}", "{{ [1]|batch(10**10, 0)|list }}",
        "{{ [1]|slice(10**10)|list }}", "{{ 'x'|indent(10**10, true) }}",
        "{{ ('\\t' * 10**6).expandtabs(10**6) }}"));

TEST(JinjaLimits, DeepSources) {
  const auto nested = [](const std::string& open, const std::string& middle,
                         const std::string& close, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += open;
    out += middle;
    for (int i = 0; i < n; ++i) out += close;
    return out;
  };
  const auto code = [](const std::string& source) { return render_error(source); };
  EXPECT_EQ(code("{{ " + nested("(", "1", ")", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ " + nested("[", "1", "]", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ " + nested("not ", "1", "", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ " + nested("-", "1", "", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ 1" + nested(" + 1", "", "", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ x" + nested(".y", "", "", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code("{{ x" + nested("|d", "", "", 10000) + " }}"), ErrorCode::kLimit);
  EXPECT_EQ(code(nested("{% if 1 %}", "x", "{% endif %}", 10000)), ErrorCode::kLimit);
  EXPECT_EQ(code(std::string(5 << 20, 'x')), ErrorCode::kLimit);
  EXPECT_EQ(render("{{ " + nested("(", "1", ")", 50) + " }}"), "1");
  EXPECT_EQ(render("{{ 1" + nested(" + 1", "", "", 200) + " }}"), "201");
}

TEST(JinjaLimits, SmallBudgets) {
  Limits limits;
  limits.max_output_bytes = 10;
  EXPECT_EQ(render_error("{{ 'x' * 11 }}", "{}", limits), ErrorCode::kLimit);
  EXPECT_EQ(render("{{ 'x' * 10 }}", "{}", limits), "xxxxxxxxxx");
  limits = {};
  limits.max_steps = 100;
  EXPECT_EQ(render_error("{% for i in range(200) %}{% endfor %}", "{}", limits), ErrorCode::kLimit);
  limits = {};
  limits.max_memory_bytes = 10'000;
  EXPECT_EQ(render_error("{{ ('x' * 20000)|length }}", "{}", limits), ErrorCode::kLimit);
}

TEST(JinjaLimits, ThingsThatHoldThemselvesAreFreed) {
  // Checked by the leak detector of the asan build.
  EXPECT_EQ(render("{% set ns = namespace(a=1) %}{% set ns.self = ns %}{{ ns }}"),
            "<Namespace {'a': 1, 'self': <Namespace {...}>}>");
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% for i in [1] %}{% set ns.l = loop %}{% endfor %}x"),
      "x");
  EXPECT_EQ(render("{% for i in [1] %}{{ loop.changed(loop) }}{% endfor %}"), "True");
  EXPECT_EQ(
      render("{% macro m() %}{% endmacro %}{% set ns = namespace(m=m) %}{% set ns.n = [m, ns] %}x"),
      "x");
  EXPECT_EQ(render_error("{% macro m(a) %}{% macro n() %}{{ a }}{% endmacro %}{{ n }}{{ nope.x "
                         "}}{% endmacro %}{{ m(m) }}"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(render_error("{% for i in [1] if i %}{{ loop }}{{ nope.x }}{% endfor %}"),
            ErrorCode::kInvalidArgument);
}

TEST(JinjaLimits, LongContentsTakeLinearTime) {
  const auto seconds = [](std::size_t size) {
    std::string message(size, 'a');
    for (std::size_t i = 0; i < size; i += 7) message[i] = i % 2 == 0 ? ' ' : '<';
    const std::string text = "\"é " + message + "</think> tail \"";
    const std::clock_t start = std::clock();  // of this process alone, whatever else runs
    render(
        "{{ s|trim }}{{ s.split('</think>')[-1].lstrip('\\n') }}{{ s|replace('<', '&lt;') }}{{ "
        "s|upper }}"
        "{{ s[10:-10] }}{{ s|length }}{{ s.find('tail') }}{{ s|tojson }}{{ '</think>' in s }}{{ "
        "s.rstrip() }}"
        "{{ s.split(' ')|join('+') }}{{ s ~ s }}{{ s.splitlines()|length }}{{ s.rfind('<') }}{{ "
        "s|wordcount }}",
        "{\"s\": " + text + "}");
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  const double small = seconds(100'000);
  EXPECT_LT(seconds(1'000'000),
            40 * small + 0.05);  // ten times is linear, a hundred times quadratic
}

}  // namespace
}  // namespace sampan::jinja
