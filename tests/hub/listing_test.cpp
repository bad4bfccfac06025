#include "hub/listing.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/manifest.h"
#include "hub/partial_file.h"

namespace sampan {
namespace {

const std::string kSha(64, 'a');
const std::string kOid(40, 'b');

TEST(Listing, ReadsAHuggingFaceTree) {
  std::vector<RepoFile> files;
  append_huggingface_tree(R"([{"type":"directory","path":"sub","oid":"x","size":0},
      {"type":"file","path":"sub/config.json","oid":")" +
                              kOid + R"(","size":12},
      {"type":"file","path":"m.safetensors","oid":"ptr","size":5,"lfs":{"oid":")" +
                              kSha + R"(","size":5}}])",
                          files);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0], (RepoFile{"sub/config.json", 12, "", kOid}));
  EXPECT_EQ(files[1], (RepoFile{"m.safetensors", 5, kSha, ""}));
}

TEST(Listing, RefusesABrokenHuggingFaceTree) {
  const std::string file = R"("type":"file","path":"a")";
  for (const std::string& json :
       {std::string("{}"), std::string("[1]"), std::string("nonsense"), "[{" + file + "}]",
        "[{" + file + R"(,"size":1}])", "[{" + file + R"(,"size":-1,"oid":")" + kOid + "\"}]",
        "[{" + file + R"(,"size":1.5,"oid":")" + kOid + "\"}]",
        "[{" + file + R"(,"size":99999999999999999,"oid":")" + kOid + "\"}]",
        "[{" + file + R"(,"size":1,"lfs":{"oid":"short","size":1}}])", std::string(100000, '[')}) {
    std::vector<RepoFile> files;
    EXPECT_THROW(append_huggingface_tree(json, files), Error) << json.substr(0, 80);
  }
}

TEST(Listing, RefusesHostilePaths) {
  for (const std::string& path :
       {std::string(""), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"),
        std::string("a/.."), std::string("./a"), std::string("a//b"), std::string("a/"),
        std::string("a\\b"), std::string("a\nb"), std::string("a\0b", 3), std::string("\xff"),
        std::string(".sampan-manifest.json"), std::string("a/.sampan/x"), std::string(256, 'x'),
        std::string(2000, 'x')}) {
    EXPECT_THROW(check_repo_path(path), Error) << path;
  }
  std::string deep = "a";
  for (int i = 0; i < 32; ++i) deep += "/a";
  EXPECT_THROW(check_repo_path(deep), Error);
  for (const char* path :
       {"a", "a/b.c", "..a", "a..b/c", "模型/权重 (1).gguf", "-x", "~", "a:b", "%2e%2e"}) {
    EXPECT_NO_THROW(check_repo_path(path)) << path;
  }
}

TEST(Listing, RefusesFilesThatCollide) {
  const auto file = [](const char* path, std::uint64_t size = 1) {
    return RepoFile{path, size, kSha, ""};
  };
  EXPECT_NO_THROW(check_listing({file("a"), file("a.b"), file("a-b/c"), file("b")}));
  EXPECT_THROW(check_listing({file("a"), file("b"), file("a")}), Error);
  EXPECT_THROW(check_listing({file("a/b"), file("a.b"), file("a")}), Error);
  EXPECT_THROW(check_listing({file("a", 1ull << 50), file("b", 1)}), Error);
}

TEST(Listing, ReadsARevision) {
  const std::string start = R"({"sha":")" + kOid + R"(",)";
  EXPECT_EQ(parse_huggingface_info(start + R"("cardData":{"license":"mit"}})").license, "mit");
  EXPECT_EQ(
      parse_huggingface_info(start + R"("cardData":{"license":"other","license_name":"qwen"}})")
          .license,
      "qwen");
  EXPECT_EQ(parse_huggingface_info(start + R"("cardData":{"license":["mit","x"]}})").license,
            "mit, x");
  EXPECT_EQ(parse_huggingface_info(start + R"("tags":["a","license:gemma"]})").license, "gemma");
  EXPECT_EQ(parse_huggingface_info(start + R"("cardData":null})").license, "");
  EXPECT_EQ(parse_huggingface_info(start + R"("tags":[]})").commit, kOid);
  EXPECT_THROW(parse_huggingface_info(R"({"sha":"../../x"})"), Error);
  EXPECT_THROW(parse_huggingface_info("[]"), Error);
}

TEST(Listing, ReadsModelScope) {
  const std::string list =
      R"({"Code":200,"Data":{"Files":[{"Path":"sub","Type":"tree","Size":0,"Sha256":""},
      {"Path":"a.json","Type":"blob","Size":3,"Sha256":")" +
      std::string(64, 'A') + R"(","Revision":")" + kOid +
      R"(","CommittedDate":5},{"Path":"b","Type":"blob","Size":4,"Sha256":"","Revision":")" +
      std::string(40, 'd') + R"(","CommittedDate":9}]}})";
  const auto files = parse_modelscope_files(list);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0], (RepoFile{"a.json", 3, kSha, ""}));
  EXPECT_EQ(files[1].sha256, "");
  EXPECT_EQ(newest_modelscope_commit(list), std::string(40, 'd'));
  EXPECT_TRUE(parse_modelscope_files(R"({"Code":200,"Data":{"Files":null}})").empty());
  EXPECT_THROW(parse_modelscope_files(R"({"Code":404,"Message":"none","Data":null})"), Error);
  EXPECT_THROW(
      parse_modelscope_files(R"({"Code":200,"Data":{"Files":[{"Path":"../a","Size":1}]}})"), Error);
  EXPECT_THROW(parse_modelscope_files(
                   R"({"Code":200,"Data":{"Files":[{"Path":"a","Size":1,"Sha256":"12"}]}})"),
               Error);
}

TEST(Listing, FindsAModelScopeRevision) {
  const std::string json =
      R"({"Code":200,"Data":{"RevisionMap":{"Branches":[{"Revision":"master","CommitId":")" + kOid +
      R"("}],"Tags":[{"Revision":"v1"}]}}})";
  EXPECT_EQ(parse_modelscope_commit(json, "master"), kOid);
  EXPECT_EQ(parse_modelscope_commit(json, "v1"), "");
  EXPECT_EQ(parse_modelscope_commit(json, std::string(40, 'e')), std::string(40, 'e'));
  try {
    parse_modelscope_commit(json, "v2");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(error.what()).find("master, v1"), std::string::npos) << error.what();
  }
}

TEST(Listing, ReadsHeaders) {
  EXPECT_EQ(next_page_query("<https://h/p?a=1&cursor=x>; rel=\"next\""), "a=1&cursor=x");
  EXPECT_EQ(next_page_query("<https://h/p?first>; rel=\"prev\", <https://h/p?b>; rel=next"), "b");
  EXPECT_FALSE(next_page_query("<https://h/p?x>; rel=\"last\""));
  EXPECT_FALSE(next_page_query("<https://h/p>; rel=\"next\""));
  EXPECT_FALSE(next_page_query("<<<<"));
  EXPECT_FALSE(next_page_query(""));

  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 10u);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total);
  for (const char* bad :
       {"", "bytes", "bytes 9-5/10", "bytes 0-10/10", "bytes */10", "bytes -1-5/10", "bytes 1-5"}) {
    EXPECT_FALSE(parse_content_range(bad)) << bad;
  }

  EXPECT_EQ(parse_retry_after("7", 0)->count(), 7);
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40)->count(), 60);
  EXPECT_EQ(parse_retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 400)->count(), 0);
  EXPECT_FALSE(parse_retry_after("soon", 0));
  EXPECT_EQ(plain_etag("W/\"abc\""), "abc");
  EXPECT_EQ(plain_etag("abc"), "abc");
  EXPECT_EQ(plain_etag("\""), "\"");
}

TEST(Manifest, SurvivesItsFile) {
  Manifest manifest;
  manifest.name = parse_model_name("ms:a/b:v1");
  manifest.endpoint = "https://modelscope.cn";
  manifest.commit = "files-" + kOid;
  manifest.license = "apache-2.0";
  manifest.pulled_at = "2026-01-02T03:04:05Z";
  manifest.files = {{"a.json", 3, kSha, kOid, true}, {"b", 4, kSha, "", false}};
  const std::string json = manifest_to_json(manifest);
  const Manifest again = manifest_from_json(json, "test");
  EXPECT_EQ(manifest_to_json(again), json);
  EXPECT_EQ(again.name, manifest.name);
  EXPECT_EQ(again.total_bytes(), 7u);
  EXPECT_FALSE(again.find("b")->verified);
}

TEST(Manifest, RefusesWhatIsNone) {
  const std::string good =
      R"({"format":"sampan-manifest/1","source":"hf","repository":"a/b","commit":")" + kOid +
      R"(","files":[]})";
  EXPECT_NO_THROW(manifest_from_json(good, "test"));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"sampan-manifest/1", "other"},
           {"a/b", "../b"},
           {kOid, "../x"},
           {"[]", "3"},
           {"[]", R"([{"path":"a","size":1},{"path":"a","size":2}])"},
           {"\"files\"", R"("revision":"../x","files")"},
           {"[]", R"([{"path":"../a"}])"},
           {"\"files\"", "\"fils\""},
           {R"("source":"hf")", R"("source":5)"}}) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    EXPECT_THROW(manifest_from_json(bad, "test"), Error) << bad;
  }
}

TEST(Journal, ReadsOnlyWhatIsWhole) {
  const std::string text =
      "header\n0 00000000000000ff\n5 0000000000000001\nx\n7 12\n1 00000000000000fg\n2 "
      "0000000000000002";
  const auto pieces = parse_journal(text, "header", 5);
  ASSERT_EQ(pieces.size(), 1u);  // 5 is out of range, the last line was cut off
  EXPECT_EQ(pieces[0], (std::pair<std::size_t, std::uint64_t>(0, 255)));
  EXPECT_TRUE(parse_journal(text, "another header", 5).empty());
  EXPECT_TRUE(parse_journal("", "", 5).empty());
}

}  // namespace
}  // namespace sampan
