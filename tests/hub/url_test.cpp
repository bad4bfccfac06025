#include "hub/url.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sampan {
namespace {

Url url(const std::string& text) { return Url::parse(text, "test"); }

TEST(Url, KnowsItsOrigin) {
  EXPECT_EQ(url("https://HuggingFace.co/x?y#z").origin(), (Origin{"https", "huggingface.co", 443}));
  EXPECT_EQ(url("https://huggingface.co:443/").origin(), url("https://huggingface.co/a").origin());
  EXPECT_NE(url("http://a/").origin(), url("https://a/").origin());
  EXPECT_NE(url("http://a:81/").origin(), url("http://a/").origin());
  EXPECT_EQ(url("http://127.0.0.1:8080/a").host_and_port(), "127.0.0.1:8080");
  EXPECT_EQ(url("https://a/x?y#z").text(), "https://a/x?y");
}

TEST(Url, RefusesOtherSchemesAndCredentials) {
  for (const char* bad : {"", "file:///etc/passwd", "ftp://a/", "gopher://a/", "https://user:pw@a/",
                          "https://user@a/", "https://a/\r\nX: y", "https://", "x"}) {
    EXPECT_THROW(url(bad), Error) << bad;
  }
}

TEST(Url, ResolvesRedirects) {
  const Url base = url("https://a/b/c?d");
  EXPECT_EQ(base.resolve("/x").text(), "https://a/x");
  EXPECT_EQ(base.resolve("x y").text(), "https://a/b/x%20y");
  EXPECT_EQ(base.resolve("//b/x").origin().host, "b");
  EXPECT_EQ(base.resolve("https://c/").origin().host, "c");
  EXPECT_THROW(base.resolve("file:///etc/passwd"), Error);
  EXPECT_THROW(base.resolve("javascript:alert(1)"), Error);
  EXPECT_THROW(base.resolve(std::string(20000, 'a')), Error);
}

TEST(Url, RefusesDangerousRedirects) {
  const auto check = [](const char* endpoint, const char* from, const char* to) {
    check_redirect(url(endpoint), url(from), url(to));
  };
  const char* hub = "https://huggingface.co/";
  EXPECT_NO_THROW(check(hub, hub, "https://cdn.example/"));
  EXPECT_NO_THROW(check("http://mirror/", "http://mirror/", "http://cdn/"));
  EXPECT_NO_THROW(check("http://127.0.0.1:1/", "http://127.0.0.1:1/", "http://127.0.0.1:2/"));
  EXPECT_THROW(check(hub, hub, "http://cdn.example/"), Error);
  for (const char* inside :
       {"https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://127.1/",
        "https://2130706433/", "https://0x7f.0.0.1/", "https://169.254.169.254/",
        "https://0.0.0.0/", "https://100.100.100.200/", "https://[fe80::1]/",
        "https://[::ffff:127.0.0.1]/", "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/", "https://x.localhost/"}) {
    EXPECT_THROW(check(hub, hub, inside), Error) << inside;
  }
  EXPECT_THROW(check("http://127.0.0.1/", "http://127.0.0.1/", "http://169.254.169.254/latest"),
               Error);
}

TEST(Url, PercentEncodes) {
  EXPECT_EQ(percent_encode("a b/ü?#%", true), "a%20b/%C3%BC%3F%23%25");
  EXPECT_EQ(percent_encode("refs/pr/1", false), "refs%2Fpr%2F1");
}

}  // namespace
}  // namespace sampan
