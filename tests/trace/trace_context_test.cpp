// What comes from outside: headers and variables.
#include "serve/trace/trace_context.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "serve/trace/key_values.h"
#include "serve/trace/otlp_http.h"
#include "serve/trace/tracer.h"

namespace sampan {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContext, ReadsTraceparent) {
  const auto context = parse_traceparent(kParent);
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id.hex(), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(span_id_hex(context->span_id), "b7ad6b7169203331");
  EXPECT_TRUE(context->is_sampled);
  std::string other = kParent;
  other.back() = '0';
  EXPECT_FALSE(parse_traceparent(other)->is_sampled);
  other.replace(53, 2, "ff");  // flags of later versions
  EXPECT_TRUE(parse_traceparent(other)->is_sampled);
  // A later version is read as far as this one goes.
  const std::string later = "cc" + std::string(kParent).substr(2);
  EXPECT_TRUE(parse_traceparent(later));
  EXPECT_TRUE(parse_traceparent(later + "-what-the-future-holds"));
}

TEST(TraceContext, RefusesWhatIsMalformed) {
  const std::string parent = kParent;
  const std::string span = "-b7ad6b7169203331-01";
  for (const std::string& bad :
       {std::string(),
        std::string("00"),
        parent.substr(0, 54),
        parent + "-",
        parent + "0",
        parent + "-01",
        "cc" + parent.substr(2) + ".future",
        "ff" + parent.substr(2),
        "0X" + parent.substr(2),
        " " + parent,
        parent + " ",
        "00-" + std::string(32, '0') + span,
        std::string("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
        "00-0AF7651916CD43DD8448EB211C80319C" + span,
        std::string("00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x"),
        std::string("00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01"),
        "00-0af7651916cd43dd8448eb211c8031-c" + span,
        std::string(55, '\0'),
        std::string(100000, '0')})
    EXPECT_FALSE(parse_traceparent(bad)) << bad.substr(0, 80);
}

TEST(TraceContext, ReadsTracestate) {
  EXPECT_EQ(parse_tracestate("rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE,,"),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  EXPECT_EQ(parse_tracestate("tenant1@system=a b"), "tenant1@system=a b");
  EXPECT_EQ(parse_tracestate(""), "");
  std::string many;
  for (int i = 0; i < 33; ++i) many += "k" + std::to_string(i) + "=v,";
  for (const std::string& bad :
       {std::string("novalue"), std::string("=v"), std::string("k="), std::string("K=v"),
        std::string("a=1,a=2"), std::string("a@b@c=1"), std::string("a@=1"), std::string("a=b=c"),
        std::string("a=\xC3\xA9"), std::string("a=1\r\nx: y"), "a=" + std::string(600, 'x'), many})
    EXPECT_EQ(parse_tracestate(bad), "") << bad.substr(0, 80);
}

TEST(KeyValueLists, AreDecoded) {
  EXPECT_EQ(parse_key_values(" a = b%20c ,,d=,e=x=y"),
            (KeyValues{{"a", "b c"}, {"d", ""}, {"e", "x=y"}}));
  EXPECT_TRUE(parse_key_values("").empty());
  for (const std::string& bad :
       {std::string("a"), std::string("=b"), std::string("a=%"), std::string("a=%4"),
        std::string("a=%zz"), std::string(70000, ',')})
    EXPECT_THROW(parse_key_values(bad), Error) << bad.substr(0, 20);
  std::string many;
  for (int i = 0; i < 300; ++i) many += "a=b,";
  EXPECT_THROW(parse_key_values(many), Error);
}

TEST(KeyValueLists, HeadersCannotBreakTheRequest) {
  EXPECT_EQ(parse_header_list("Authorization=Bearer%20s3cret,x-tenant=a"),
            (KeyValues{{"Authorization", "Bearer s3cret"}, {"x-tenant", "a"}}));
  for (const char* const bad :
       {"a b=c", "a:=c", "a=b%0d%0aInjected: yes", "a=%00", "Content-Length=5",
        "transfer-encoding=chunked", "content-type=text/plain", "\xC3\xA9=a"})
    EXPECT_THROW(parse_header_list(bad), Error) << bad;
  try {
    parse_header_list("authorization=s3cret,x=%0a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("s3cret"), std::string::npos);
  }
}

TEST(CollectorUrl, IsCheckedAndCompleted) {
  EXPECT_EQ(traces_url("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
  EXPECT_EQ(traces_url("https://c.example/otlp/"), "https://c.example/otlp/v1/traces");
  EXPECT_EQ(traces_url("http://c.example/?token=x"), "http://c.example/v1/traces?token=x");
  EXPECT_EQ(checked_url("http://c.example/custom?token=x"), "http://c.example/custom?token=x");
  EXPECT_EQ(shown_url("http://c.example/custom?token=x"), "http://c.example/custom");
  for (const char* const bad :
       {"", "c.example", "ftp://c.example", "http://", "http://u:p@c.example",
        "http://c.example:99999", "grpc://c.example:4317", "file:///etc/passwd"})
    EXPECT_THROW(traces_url(bad), Error) << bad;
}

TEST(Sampling, IsReadByItsNames) {
  EXPECT_TRUE(parse_sampling("always_off", "").is_never());
  EXPECT_FALSE(parse_sampling("parentbased_always_off", "").is_never());
  EXPECT_EQ(parse_sampling("parentbased_traceidratio", "0.25").ratio, 0.25);
  EXPECT_EQ(parse_sampling("traceidratio", "").ratio, 1);
  EXPECT_FALSE(parse_sampling("always_on", "not read").follows_parent);
  for (const char* const bad : {"", "jaeger_remote", "parentbased_", "ALWAYS_ON"})
    EXPECT_THROW(parse_sampling(bad, ""), Error) << bad;
  for (const char* const bad : {"2", "-0.1", "x", "nan", "0.5x"})
    EXPECT_THROW(parse_sampling("traceidratio", bad), Error) << bad;
}

}  // namespace
}  // namespace sampan
