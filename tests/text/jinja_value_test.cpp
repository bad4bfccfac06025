// Numbers, strings, JSON.
#include <gtest/gtest.h>

#include <cmath>

#include "text/jinja/bigint.h"
#include "text/jinja/number.h"
#include "text/jinja_support.h"

namespace sampan::jinja {
namespace {

TEST(JinjaNumbers, FloatsPrintAsPython) {
  EXPECT_EQ(float_repr(1.0), "1.0");
  EXPECT_EQ(float_repr(-0.0), "-0.0");
  EXPECT_EQ(float_repr(1e16), "1e+16");
  EXPECT_EQ(float_repr(123456789012345680.0), "1.2345678901234568e+17");
  EXPECT_EQ(float_repr(1e15), "1000000000000000.0");
  EXPECT_EQ(float_repr(0.0001), "0.0001");
  EXPECT_EQ(float_repr(0.00001), "1e-05");
  EXPECT_EQ(float_repr(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(float_repr(5e-324), "5e-324");
  EXPECT_EQ(float_repr(INFINITY), "inf");
}

TEST(JinjaNumbers, BigIntegers) {
  const BigInt a = BigInt::parse("123456789012345678901234567890");
  const BigInt b = BigInt::parse("987654321098765432109");
  EXPECT_EQ((a * b).to_string(), "121932631137021795226076817523485749121223746380010");
  EXPECT_EQ((a - b).to_string(), "123456788024691357802469135781");
  const auto division = (-a).divide(b);
  EXPECT_EQ(division.quotient.to_string(), "-124999999");
  EXPECT_EQ((division.quotient * b + division.remainder).compare(-a), 0);
  EXPECT_FALSE(division.remainder.negative());
  EXPECT_EQ(BigInt(2).power(100).to_string(16), "10000000000000000000000000");
  EXPECT_EQ(BigInt::from_double(1e22).to_string(), "10000000000000000000000");
  EXPECT_EQ(*true_divide(BigInt(1), BigInt(3)), 1.0 / 3.0);
  EXPECT_EQ(*true_divide(BigInt::parse("9007199254740993"), BigInt(1)), 9007199254740992.0);
  EXPECT_EQ(*true_divide(BigInt(1), BigInt(2).power(1074)), 5e-324);
  EXPECT_EQ(*true_divide(BigInt(3), BigInt(2).power(1075)), 1e-323);
  EXPECT_FALSE(true_divide(BigInt(10).power(309), BigInt(1)).has_value());
  EXPECT_THROW(BigInt(2).power(1u << 20), Error);
}

TEST(JinjaNumbers, IntegersStayExact) {
  const char* const variables =
      R"({"n": 123456789012345678901234567890, "f": 1e16, "z": -0.0, "m": 9223372036854775807})";
  EXPECT_EQ(render("{{ n }} {{ n|tojson }} {{ n + 1 }} {{ n % 97 }} {{ -n // 7 }}", variables),
            "123456789012345678901234567890 123456789012345678901234567890 "
            "123456789012345678901234567891 52 -17636684144620811271604938270");
  EXPECT_EQ(
      render("{{ m + 1 }} {{ m * m }} {{ -m - 2 }} {{ n > f }} {{ m == 9223372036854775807.0 }}",
             variables),
      "9223372036854775808 85070591730234615847396907784232501249 -9223372036854775809 True False");
  EXPECT_EQ(
      render(
          "{{ f }} {{ z }} {{ f|int }} {{ 7 // -2 }} {{ 7 % -2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }}",
          variables),
      "1e+16 -0.0 10000000000000000 -4 -1 -4.0 0.5");
  EXPECT_EQ(
      render("{{ 2.675|round(2) }} {{ 2.5|round }} {{ 25|round(-1) }} {{ 1234.5|round(-2) }}"),
      "2.67 2.0 20 1200.0");
}

TEST(JinjaStrings, ReprQuotesAsPython) {
  EXPECT_EQ(render(R"({{ [a, b, c, d] }})",
                   R"({"a": "it's", "b": "\"", "c": "'\"", "d": "\\\n\u0007é\u200b\ud83d\ude00"})"),
            R"(["it's", '"', '\'"', '\\\n\x07é\u200b😀'])");
}

TEST(JinjaStrings, CodePointsCount) {
  const char* const variables = R"({"s": "aé中😀z"})";
  EXPECT_EQ(
      render("{{ s|length }}{{ s[1:4] }}{{ s[::-1] }}{{ s[-2] }}{{ s.find('z') }}{{ s.upper() }}",
             variables),
      "5é中😀z😀中éa😀4AÉ中😀Z");
  EXPECT_EQ(render("{{ 'ΑΣ ΑΣΑ ß ŉ'.lower() }}|{{ 'ß ǆ ﬁ'.upper() }}|{{ 'ǆ x'.title() }}"),
            "ας ασα ß ŉ|SS Ǆ FI|ǅ X");
  // Beyond the distance at which indices are looked up through landmarks.
  EXPECT_EQ(render("{{ (s * 100)[403] }}{{ (s * 100).rfind('中') }}", variables), "😀497");
}

TEST(JinjaStrings, MarkupEscapesWhatItMeets) {
  EXPECT_EQ(render("{{ '<' + ('<b>'|safe) + '&' }}"), "&lt;<b>&amp;");
  EXPECT_EQ(render("{{ '<' ~ ('<b>'|safe) ~ '&' }}"), "<<b>&");
  EXPECT_EQ(render("{{ ('<b>%s'|safe) % '<' }}{{ '<'|e }}{{ ['<'|e] }}"),
            "<b>&lt;&lt;[Markup('&lt;')]");
}

TEST(JinjaJson, ReadsAsPython) {
  const auto parse = [](std::string_view text) { return parse_json(nullptr, text, false, "test"); };
  EXPECT_EQ(render("{{ d }}", R"({"d": {"b": 1, "a": 2, "b": 3}})"), "{'b': 3, 'a': 2}");
  EXPECT_EQ(parse(" [NaN, -Infinity, 1E5, 0, -0] ").as_sequence().items.size(), 5u);
  for (const char* bad :
       {"", "[1,]", "{\"a\" 1}", "{a: 1}", "01", "1.", "'a'", "\"\t\"", "\"\\x\"", "\"open",
        "[1] 2", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\xff\"", "\"\\u12g4\"", "nul", "-"}) {
    EXPECT_THROW(parse(bad), Error) << bad;
  }
  EXPECT_THROW(parse(std::string(300, '[') + std::string(300, ']')), Error);
}

TEST(JinjaJson, WritesAsPython) {
  const char* const variables =
      R"({"v": {"b": [1, 2.0, null, true, "é\"\\/\n\u0001\u007f😀"], "a": {}, "c": []}})";
  EXPECT_EQ(render("{{ v|tojson }}", variables),
            "{\"b\": [1, 2.0, null, true, \"é\\\"\\\\/\\n\\u0001\x7f😀\"], \"a\": {}, \"c\": []}");
  EXPECT_EQ(
      render("{{ v|tojson(ensure_ascii=true, sort_keys=true, separators=(',', ':')) }}", variables),
      R"({"a":{},"b":[1,2.0,null,true,"\u00e9\"\\/\n\u0001\u007f\ud83d\ude00"],"c":[]})");
  EXPECT_EQ(render("{{ {'x': [1, {}], 2: (3,)}|tojson(indent=2) }}"),
            "{\n  \"x\": [\n    1,\n    {}\n  ],\n  \"2\": [\n    3\n  ]\n}");
  EXPECT_EQ(render_error("{{ nope|tojson }}"), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace sampan::jinja
