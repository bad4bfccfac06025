#include "hub/model_store.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "hub/digest.h"
#include "hub/fake_hub.h"
#include "hub/file_system.h"
#include "hub/pull.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;
using testing::FakeHub;
using testing::fast_options;
using testing::noise;
using testing::TemporaryFolder;
using testing::write_text;

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out.push_back(entry.path());
  }
  return out;
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    hub.repos["org/one"].files["model.safetensors"] = {noise(100'000, 1), true};
    hub.repos["org/one"].files["config.json"] = {"{}", false};
    hub.repos["other/two"].commit = std::string(40, 'd');
    hub.repos["other/two"].files["model.safetensors"] = {noise(100'000, 1),
                                                         true};  // the same weights
    hub.repos["other/two"].files["config.json"] = {"{\"a\": 1}", false};
  }
  LocalModel bring(const std::string& text) {
    return pull(parse_model_name(text), fast_options(hub, folder.path()));
  }
  ModelStore store() const { return ModelStore(hub.settings(folder.path())); }
  fs::path blobs() const { return folder.path() / "store" / "blobs"; }

  FakeHub hub;
  TemporaryFolder folder;
};

TEST_F(StoreTest, FindsWhatWasPulled) {
  EXPECT_FALSE(store().find(parse_model_name("org/one")));
  const LocalModel pulled = bring("org/one:v1");
  EXPECT_EQ(store().find(parse_model_name("org/one:v1"))->path, pulled.path);
  EXPECT_EQ(store().find(parse_model_name("org/one:" + std::string(40, 'c')))->path, pulled.path);
  EXPECT_EQ(store().find(parse_model_name("org/one"))->path, pulled.path);  // the only one there is
  EXPECT_FALSE(store().find(parse_model_name("org/one:v2")));
  EXPECT_FALSE(store().find(parse_model_name("ms:org/one")));
}

TEST_F(StoreTest, ResolvesWhatAUserTypes) {
  const fs::path one = bring("org/one").path;
  const fs::path two = bring("ms:other/two").path;
  EXPECT_EQ(store().resolve("org/one")->path, one);
  EXPECT_EQ(store().resolve("one")->path, one);
  EXPECT_EQ(store().resolve("other/two")->path, two);
  EXPECT_EQ(store().resolve("two")->path, two);
  EXPECT_FALSE(store().resolve("hf:other/two"));
  EXPECT_FALSE(store().resolve("three"));
  EXPECT_FALSE(store().resolve("/etc/passwd"));
  hub.repos["third/one"] = hub.repos["org/one"];
  bring("third/one");
  EXPECT_THROW(store().resolve("one"), Error);
}

TEST_F(StoreTest, ListsModels) {
  bring("org/one");
  bring("org/one:v1");
  bring("other/two");
  const auto entries = store().list();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].model.name.repository(), "org/one");
  EXPECT_EQ(entries[0].refs, (std::vector<std::string>{"main", "v1"}));
  EXPECT_EQ(entries[0].model.manifest.total_bytes(), 100'002u);
  EXPECT_TRUE(entries[0].is_complete);
  EXPECT_EQ(entries[1].model.name.repository(), "other/two");
}

TEST_F(StoreTest, ABrokenManifestIsNamedAndSkipped) {
  const LocalModel one = bring("org/one");
  bring("other/two");
  write_text(one.path / ".sampan-manifest.json", "{");
  std::vector<std::string> problems;
  EXPECT_EQ(store().list(&problems).size(), 1u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("org/one"), std::string::npos);
  EXPECT_THROW(store().find(parse_model_name("org/one")), Error);
  EXPECT_EQ(store().verify({}, {}).bad.size(), 1u);
  // Which blobs it needs is not known, so none goes.
  EXPECT_THROW(store().remove(parse_model_name("other/two")), Error);
  EXPECT_EQ(files_in(blobs()).size(), 3u);
}

TEST_F(StoreTest, RemovesBlobsThatNothingNeeds) {
  bring("org/one");
  bring("other/two");
  EXPECT_EQ(files_in(blobs()).size(), 3u);
  const RemoveReport first = store().remove(parse_model_name("org/one"));
  EXPECT_EQ(first.models, 1u);
  EXPECT_EQ(first.freed_bytes, 2u);  // the weights are the other's too
  EXPECT_FALSE(store().find(parse_model_name("org/one")));
  EXPECT_EQ(store().remove(parse_model_name("other/two")).freed_bytes, 100'008u);
  EXPECT_TRUE(files_in(blobs()).empty());
  EXPECT_TRUE(files_in(folder.path() / "store" / "models").empty());
  EXPECT_TRUE(files_in(folder.path() / "store" / "refs").empty());
  EXPECT_THROW(store().remove(parse_model_name("org/one")), Error);
}

TEST_F(StoreTest, RemovesOneRevision) {
  bring("org/one");
  hub.repos["org/one"].commit = std::string(40, 'e');
  hub.repos["org/one"].files["config.json"].content = "{\"new\": 1}";
  bring("org/one");
  EXPECT_EQ(store().list().size(), 2u);
  EXPECT_EQ(store().remove(parse_model_name("org/one:" + std::string(40, 'c'))).models, 1u);
  EXPECT_EQ(store().list().size(), 1u);
  EXPECT_EQ(store().find(parse_model_name("org/one"))->manifest.commit, std::string(40, 'e'));
}

TEST_F(StoreTest, KeepsWhatAnInterruptedPullNeeds) {
  bring("org/one");
  // The second pull fails at its config: the weights are a blob already, the config is listed as
  // pending.
  hub.repos["other/two"].files["model.safetensors"].content = noise(50'000, 2);
  hub.change("other/two/resolve/" + std::string(40, 'd') + "/config.json", 1000,
             [](const auto&, auto& reply) { reply = {500, {}, "", {}, {}, 100}; });
  EXPECT_THROW(bring("other/two"), Error);
  ASSERT_EQ(store().list().size(), 2u);
  store().remove(parse_model_name("org/one"));
  const std::string weights = sha256_hex(hub.repos["other/two"].files["model.safetensors"].content);
  EXPECT_TRUE(fs::exists(blobs() / "sha256" / weights.substr(0, 2) / weights));
  EXPECT_EQ(store().remove(parse_model_name("other/two")).models, 1u);
  EXPECT_TRUE(files_in(blobs()).empty());
  EXPECT_TRUE(files_in(folder.path() / "store" / "partial").empty());
}

TEST_F(StoreTest, BlobsStayWhileAPullIsUnderWay) {
  bring("org/one");
  const auto pulling =
      FileLock::try_lock(folder.path() / "store/locks/store.lock", FileLock::Mode::kShared);
  const RemoveReport report = store().remove(parse_model_name("org/one"));
  EXPECT_TRUE(report.blobs_kept);
  EXPECT_EQ(files_in(blobs()).size(), 2u);
}

TEST_F(StoreTest, VerifyNamesEachBadFile) {
  const LocalModel one = bring("org/one");
  bring("other/two");
  std::uint64_t last = 0, total = 0;
  const VerifyReport good = store().verify({}, [&](const VerifyProgress& now) {
    last = now.done_bytes;
    total = now.total_bytes;
  });
  EXPECT_TRUE(good.bad.empty());
  EXPECT_EQ(good.models, 2u);
  EXPECT_EQ(good.files, 4u);
  EXPECT_EQ(good.bytes, 200'010u);
  EXPECT_EQ(last, total);

  fs::permissions(one.path / "model.safetensors", fs::perms::owner_write, fs::perm_options::add);
  {
    std::fstream stream(one.path / "model.safetensors",
                        std::ios::in | std::ios::out | std::ios::binary);
    stream << "x";
  }
  fs::remove(one.path / "config.json");
  const VerifyReport bad = store().verify(parse_model_name("org/one"), {});
  ASSERT_EQ(bad.bad.size(), 2u);
  EXPECT_EQ(bad.bad[0].path, one.path / "config.json");
  EXPECT_EQ(bad.bad[0].problem, "is missing");
  EXPECT_NE(bad.bad[1].problem.find("SHA-256"), std::string::npos);
  EXPECT_EQ(store().verify({}, {}).bad.size(), 3u);  // the other model has the same weights
}

class HuggingFaceCacheTest : public StoreTest {
 protected:
  // As the Python client lays it out: snapshots link to blobs named by their digest.
  void add(const std::string& snapshot, const std::string& file, const std::string& content,
           bool lfs) {
    const std::string digest = lfs ? sha256_hex(content) : testing::git_oid(content);
    write_text(repository() / "blobs" / digest, content);
    const fs::path link = repository() / "snapshots" / snapshot / file;
    fs::create_directories(link.parent_path());
    fs::create_symlink(fs::relative(repository() / "blobs" / digest, link.parent_path()), link);
  }
  fs::path repository() const { return folder.path() / "hf-cache" / "models--old--model"; }
  const std::string commit = std::string(40, '1');
  const ModelName name = parse_model_name("old/model");
};

TEST_F(HuggingFaceCacheTest, IsReadInPlace) {
  add(commit, "model.safetensors", noise(1000, 3), true);
  add(commit, "sub/config.json", "{}", false);
  EXPECT_EQ(store().find(name)->path, repository() / "snapshots" / commit);
  write_text(repository() / "refs" / "main", commit);
  const auto model = store().find(name);
  ASSERT_TRUE(model);
  EXPECT_TRUE(model->in_huggingface_cache);
  EXPECT_EQ(model->manifest.total_bytes(), 1002u);
  EXPECT_EQ(model->manifest.find("model.safetensors")->sha256, sha256_hex(noise(1000, 3)));
  EXPECT_EQ(store().resolve("model")->path, model->path);
  EXPECT_EQ(store().find(parse_model_name("old/model:" + commit))->path, model->path);
  EXPECT_FALSE(store().find(parse_model_name("old/model:v1")));
  EXPECT_FALSE(store().find(parse_model_name("ms:old/model")));
  ASSERT_EQ(store().list().size(), 1u);
  EXPECT_TRUE(store().list()[0].model.in_huggingface_cache);
  EXPECT_TRUE(store().verify(name, {}).bad.empty());
  write_text(repository() / "blobs" / testing::git_oid("{}"), "[]");
  EXPECT_EQ(store().verify(name, {}).bad.size(), 1u);
  PullOptions offline = fast_options(hub, folder.path());
  offline.settings.offline = true;
  EXPECT_EQ(pull(name, offline).path, model->path);
}

TEST_F(HuggingFaceCacheTest, PrefersTheSnapshotWithWeights) {
  add(std::string(40, '2'), "config.json", "{}", false);
  add(commit, "model.safetensors", noise(1000, 3), true);
  add(std::string(40, '3'), "config.json", "{}", false);
  EXPECT_EQ(store().find(name)->manifest.commit, commit);
}

TEST_F(HuggingFaceCacheTest, IsNeverChanged) {
  add(commit, "model.safetensors", noise(1000, 3), true);
  try {
    store().remove(name);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
  }
  EXPECT_TRUE(fs::exists(repository() / "snapshots" / commit / "model.safetensors"));
}

}  // namespace
}  // namespace sampan
