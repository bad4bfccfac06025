#include "hub/pull.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "hub/digest.h"
#include "hub/fake_hub.h"

namespace sampan {
namespace {

using testing::FakeHub;
using testing::FakeRepo;
using testing::fast_options;
using testing::kMiB;
using testing::noise;
using testing::read_text;
using testing::ServerReply;
using testing::ServerRequest;
using testing::TemporaryFolder;

FakeRepo small_repo() {
  FakeRepo repo;
  repo.files["config.json"] = {"{\"model_type\": \"qwen3\"}", false};
  repo.files["tokenizer/vocab 词表.json"] = {"{}", false};
  repo.files["empty.txt"] = {"", false};
  repo.files["model.safetensors"] = {noise(3 * kMiB + 12345, 7), true};
  return repo;
}

void expect_same_files(const FakeRepo& repo, const LocalModel& model) {
  for (const auto& [path, file] : repo.files)
    EXPECT_EQ(read_text(model.path / path), file.content) << path;
  EXPECT_EQ(model.manifest.files.size(), repo.files.size());
}

// The error of a pull that must fail, as "code: message".
Error failure(const ModelName& name, const PullOptions& options) {
  try {
    pull(name, options);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "the pull succeeded";
  return Error(ErrorCode::kIo, "");
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

class PullTest : public ::testing::Test {
 protected:
  PullTest() { hub.repos["org/model"] = small_repo(); }
  PullOptions options() const { return fast_options(hub, folder.path()); }

  FakeHub hub;
  TemporaryFolder folder;
  const ModelName name = parse_model_name("org/model");
};

TEST_F(PullTest, BringsAModelFromHuggingFace) {
  const LocalModel model = pull(name, options());
  expect_same_files(hub.repos["org/model"], model);
  EXPECT_EQ(model.manifest.commit, std::string(40, 'c'));
  EXPECT_EQ(model.manifest.license, "apache-2.0");
  EXPECT_EQ(model.manifest.endpoint, hub.api.url());
  EXPECT_EQ(model.manifest.name.revision, "main");
  const ManifestFile* weights = model.manifest.find("model.safetensors");
  ASSERT_NE(weights, nullptr);
  EXPECT_EQ(weights->sha256, sha256_hex(hub.repos["org/model"].files["model.safetensors"].content));
  EXPECT_EQ(model.manifest.find("config.json")->git_oid,
            testing::git_oid(hub.repos["org/model"].files["config.json"].content));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "store" / "partial"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "store" / "pending"));
  EXPECT_EQ(std::filesystem::status(model.path / "model.safetensors").permissions() &
                std::filesystem::perms::owner_write,
            std::filesystem::perms::none);
}

TEST_F(PullTest, DownloadsNothingTwice) {
  pull(name, options());
  hub.api.forget_requests();
  hub.storage.forget_requests();
  pull(name, options());
  EXPECT_TRUE(hub.storage.requests().empty());
  for (const ServerRequest& request : hub.api.requests())
    EXPECT_FALSE(contains(request.path, "/resolve/")) << request.path;
  // Another commit with the same weights: only the listing and the changed file.
  hub.repos["org/model"].commit = std::string(40, 'd');
  hub.repos["org/model"].files["config.json"].content = "{}";
  expect_same_files(hub.repos["org/model"], pull(name, options()));
  EXPECT_TRUE(hub.storage.requests().empty());
}

TEST_F(PullTest, BringsAModelFromModelScope) {
  const LocalModel model = pull(parse_model_name("ms:org/model"), options());
  expect_same_files(hub.repos["org/model"], model);
  EXPECT_EQ(model.manifest.commit, std::string(40, 'c'));
  EXPECT_EQ(model.manifest.license, "apache-2.0");
  EXPECT_EQ(model.path, folder.path() / "store/models/ms/org/model" / std::string(40, 'c'));
}

TEST_F(PullTest, ModelScopeWithoutCommitIds) {
  hub.repos["org/model"].tells_commit = false;
  EXPECT_EQ(pull(parse_model_name("ms:org/model"), options()).manifest.commit,
            std::string(40, 'c'));
  hub.repos["org/model"].commit = "unknown";
  const std::string commit = pull(parse_model_name("ms:org/model"), options()).manifest.commit;
  EXPECT_TRUE(commit.starts_with("files-")) << commit;
  const Error error = failure(parse_model_name("ms:org/model:v9"), options());
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(contains(error.what(), "master")) << error.what();
}

TEST_F(PullTest, FollowsPagesOfTheListing) {
  hub.page_size = 1;
  expect_same_files(hub.repos["org/model"], pull(name, options()));
}

TEST_F(PullTest, LargeFilesComeInParallelRanges) {
  hub.repos["org/model"].files["model.safetensors"].content = noise(24 * kMiB, 8);
  expect_same_files(hub.repos["org/model"], pull(name, options()));
  std::size_t ranged = 0;
  for (const ServerRequest& request : hub.storage.requests()) ranged += request.range() ? 1 : 0;
  EXPECT_GE(ranged, 4u);
  EXPECT_EQ(hub.storage.body_bytes_sent(), 24 * kMiB);
}

TEST_F(PullTest, AServerWithoutRangesWillDo) {
  hub.has_ranges = false;
  hub.repos["org/model"].files["model.safetensors"].content = noise(24 * kMiB, 9);
  expect_same_files(hub.repos["org/model"], pull(name, options()));
}

TEST_F(PullTest, AServerWithoutRangesMayBreakOffToo) {
  hub.has_ranges = false;
  hub.repos["org/model"].files["model.safetensors"].content = noise(6 * kMiB, 13);
  std::size_t cut = 0;
  hub.change("model.safetensors", 12, [&](const ServerRequest& request, ServerReply& reply) {
    if (!contains(request.path, "resolve")) reply.cut_after = cut += 700'000;
  });
  expect_same_files(hub.repos["org/model"], pull(name, options()));
}

TEST_F(PullTest, TheTokenStaysAtTheHub) {
  hub.repos["org/model"].token = "hf_secret";
  PullOptions with_token = options();
  with_token.settings.huggingface_token = "hf_secret";
  expect_same_files(hub.repos["org/model"], pull(name, with_token));
  ASSERT_FALSE(hub.storage.requests().empty());
  for (const ServerRequest& request : hub.storage.requests()) {
    EXPECT_EQ(request.headers.count("authorization"), 0u);
    EXPECT_EQ(request.headers.count("cookie"), 0u);
  }
  EXPECT_EQ(hub.api.requests().front().header("authorization"), "Bearer hf_secret");
  EXPECT_EQ(hub.api.requests().front().header("accept-encoding"), "identity");
}

TEST_F(PullTest, TheModelScopeTokenTravelsAsCookie) {
  hub.repos["org/model"].token = "ms-secret";
  PullOptions with_token = options();
  const Error error = failure(parse_model_name("ms:org/model"), with_token);
  EXPECT_EQ(error.code(), ErrorCode::kPermission);
  EXPECT_TRUE(contains(error.what(), "MODELSCOPE_API_TOKEN")) << error.what();
  with_token.settings.modelscope_token = "ms-secret";
  expect_same_files(hub.repos["org/model"], pull(parse_model_name("ms:org/model"), with_token));
}

TEST_F(PullTest, SaysWhatToDoAboutGatedAndPrivateModels) {
  hub.repos["org/model"].token = "hf_secret";
  EXPECT_EQ(failure(name, options()).code(), ErrorCode::kNotFound);
  EXPECT_TRUE(contains(failure(name, options()).what(), "set HF_TOKEN"));
  hub.repos["org/model"].is_gated = true;
  const Error gated = failure(name, options());
  EXPECT_EQ(gated.code(), ErrorCode::kPermission);
  EXPECT_TRUE(contains(gated.what(), "accept its licence at " + hub.api.url() + "/org/model"))
      << gated.what();
}

TEST_F(PullTest, NamesWhatIsNotFound) {
  const Error repo = failure(parse_model_name("org/other"), options());
  EXPECT_EQ(repo.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(contains(repo.what(), "hf:org/other: not found")) << repo.what();
  const Error revision = failure(parse_model_name("org/model:v9"), options());
  EXPECT_EQ(revision.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(contains(revision.what(), "revision v9 does not exist")) << revision.what();
  const Error modelscope = failure(parse_model_name("ms:org/other"), options());
  EXPECT_EQ(modelscope.code(), ErrorCode::kNotFound);
  hub.change("config.json", 1, [](const ServerRequest&, ServerReply& reply) {
    reply = {404, {{"X-Error-Code", "EntryNotFound"}}, ""};
  });
  EXPECT_TRUE(contains(failure(name, options()).what(), "file config.json does not exist"));
}

TEST_F(PullTest, RetriesWhatMayPass) {
  for (const int status : {500, 502, 503, 504, 429, 408}) {
    hub.change("/revision/", 1, [status](const ServerRequest&, ServerReply& reply) {
      reply = {status, {}, ""};
    });
    hub.change("model.safetensors", 1, [status](const ServerRequest&, ServerReply& reply) {
      reply = {status, {}, ""};
    });
    const TemporaryFolder fresh;
    std::string notes;
    PullOptions watched = fast_options(hub, fresh.path());
    watched.progress = [&](const PullProgress& now) {
      for (const std::string& note : now.notes) notes += note + "\n";
    };
    expect_same_files(hub.repos["org/model"], pull(name, watched));
    EXPECT_TRUE(contains(notes, std::to_string(status))) << notes;
  }
}

TEST_F(PullTest, HonoursRetryAfter) {
  hub.change("model.safetensors", 1, [](const ServerRequest&, ServerReply& reply) {
    reply = {429, {{"Retry-After", "1"}}, ""};
  });
  const auto start = std::chrono::steady_clock::now();
  pull(name, options());
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
  // More patience than we have: one clear line at once.
  hub.change("/revision/", 1, [](const ServerRequest&, ServerReply& reply) {
    reply = {429, {{"Retry-After", "3600"}}, ""};
  });
  const Error error = failure(name, options());
  EXPECT_EQ(error.code(), ErrorCode::kNetwork);
  EXPECT_TRUE(contains(error.what(), "asks to wait 3600 s")) << error.what();
}

TEST_F(PullTest, GivesUpInTheEnd) {
  hub.change("model.safetensors", 1000, [](const ServerRequest&, ServerReply& reply) {
    reply = {500, {}, ""};
  });
  const Error error = failure(name, options());
  EXPECT_EQ(error.code(), ErrorCode::kNetwork);
  EXPECT_TRUE(contains(error.what(), "model.safetensors") && contains(error.what(), "500"))
      << error.what();
  EXPECT_FALSE(ModelStore(options().settings).find(name));
}

TEST_F(PullTest, ContinuesAfterCutConnections) {
  hub.repos["org/model"].files["model.safetensors"].content = noise(5 * kMiB, 10);
  // Each connection breaks after 300 kB: far more often than attempts are allowed, but each brings
  // something.
  hub.change("model.safetensors", 1000, [](const ServerRequest&, ServerReply& reply) {
    if (reply.body.size() > 300'000) reply.cut_after = 300'000;
  });
  expect_same_files(hub.repos["org/model"], pull(name, options()));
  EXPECT_LT(hub.storage.body_bytes_sent(), 6 * kMiB);
}

TEST_F(PullTest, RefusesWrongContent) {
  hub.change("model.safetensors", 1000, [](const ServerRequest&, ServerReply& reply) {
    if (!reply.body.empty()) reply.body[reply.body.size() / 2] ^= 1;
  });
  const Error error = failure(name, options());
  EXPECT_EQ(error.code(), ErrorCode::kInvalidData);
  EXPECT_TRUE(contains(error.what(), "model.safetensors: digest")) << error.what();
  EXPECT_FALSE(ModelStore(options().settings).find(name));
  const auto partial = folder.path() / "store" / "partial";
  EXPECT_TRUE(std::filesystem::is_empty(partial));
}

TEST_F(PullTest, RefusesWrongContentOutsideLfs) {
  hub.change("config.json", 1000,
             [](const ServerRequest&, ServerReply& reply) { reply.body[0] ^= 1; });
  EXPECT_EQ(failure(name, options()).code(), ErrorCode::kInvalidData);
}

TEST_F(PullTest, OneSpoiltTransferIsRepeated) {
  hub.change("model.safetensors", 2, [](const ServerRequest& request, ServerReply& reply) {
    if (request.path.find("resolve") == std::string::npos) reply.body[5] ^= 1;
  });
  expect_same_files(hub.repos["org/model"], pull(name, options()));
}

TEST_F(PullTest, NoticesWrongLengths) {
  const auto lies = std::vector<std::function<void(const ServerRequest&, ServerReply&)>>{
      [](const ServerRequest&, ServerReply& reply) { reply.body += "more"; },
      [](const ServerRequest&, ServerReply& reply) { reply.body.resize(reply.body.size() / 2); },
      [](const ServerRequest&, ServerReply& reply) { reply.content_length = "5"; },
      [](const ServerRequest&, ServerReply& reply) {
        reply.content_length = "99999999999";
        reply.cut_after = 100;
      },
      [](const ServerRequest&, ServerReply& reply) {
        reply.headers.emplace_back("Content-Encoding", "gzip");
      },
      [](const ServerRequest&, ServerReply& reply) {
        for (auto& [key, value] : reply.headers) {
          if (key == "Content-Range") value = "bytes 0-1/2";
        }
      }};
  for (const auto& lie : lies) {
    const TemporaryFolder fresh;
    hub.repos["org/model"].files["model.safetensors"].content = noise(12 * kMiB, 11);
    hub.change("org/model/model.safetensors", 2, lie);
    expect_same_files(hub.repos["org/model"], pull(name, fast_options(hub, fresh.path())));
  }
}

TEST_F(PullTest, DropsAStalledConnection) {
  hub.change("model.safetensors", 2, [](const ServerRequest& request, ServerReply& reply) {
    if (request.path.find("resolve") != std::string::npos) return;
    reply.trickle_bytes = 10;
    reply.trickle_ms = 100;
  });
  PullOptions impatient = options();
  impatient.network.stall_time = std::chrono::seconds(1);
  expect_same_files(hub.repos["org/model"], pull(name, impatient));
}

TEST_F(PullTest, ReportsUnreachableHubs) {
  PullOptions nowhere = options();
  nowhere.settings.huggingface_endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(failure(name, nowhere).code(), ErrorCode::kNetwork);
  nowhere.settings.huggingface_endpoint = "http://name.invalid";
  const Error error = failure(name, nowhere);
  EXPECT_EQ(error.code(), ErrorCode::kNetwork);
  EXPECT_TRUE(contains(error.what(), "name.invalid")) << error.what();
  nowhere.settings.huggingface_endpoint = "file:///etc";
  EXPECT_EQ(failure(name, nowhere).code(), ErrorCode::kInvalidArgument);
}

TEST_F(PullTest, RefusesHostileListings) {
  for (const char* path :
       {"../escape", "/etc/cron.d/x", "a/../../b", "a\\b", ".sampan-manifest.json"}) {
    hub.repos["org/model"] = small_repo();
    hub.repos["org/model"].files[path] = {"evil", false};
    for (const char* prefix : {"hf:", "ms:"}) {
      const Error error = failure(parse_model_name(std::string(prefix) + "org/model"), options());
      EXPECT_EQ(error.code(), ErrorCode::kInvalidData) << path;
      EXPECT_TRUE(contains(error.what(), "refused")) << error.what();
    }
  }
  hub.repos["org/model"] = small_repo();
  hub.repos["org/model"].files["config.json/x"] = {"evil", false};
  EXPECT_EQ(failure(name, options()).code(), ErrorCode::kInvalidData);
}

TEST_F(PullTest, RefusesMoreThanTheDiskHolds) {
  FakeRepo& repo = hub.repos["org/model"];
  hub.change("/tree/", 1, [](const ServerRequest&, ServerReply& reply) {
    reply.body =
        R"([{"type":"file","path":"model.safetensors","size":1,"lfs":{"size":900000000000000,"oid":")" +
        std::string(64, 'a') + "\"}}]";
  });
  const Error error = failure(name, options());
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(contains(error.what(), "900 TB are needed")) << error.what();
  EXPECT_FALSE(repo.files.empty());
}

TEST_F(PullTest, NoticesWhenListingAndFileDisagree) {
  hub.repos["org/model"].listed["model.safetensors"] = {noise(3 * kMiB + 12345, 99), true};
  EXPECT_EQ(failure(name, options()).code(), ErrorCode::kInvalidData);
}

// The message of a pull from a hub of its own whose answer to each request for a file is that it
// lies elsewhere: at `target`, or (nullptr) where it was asked for.
std::string redirected_failure(const char* target) {
  FakeHub hub;
  const TemporaryFolder folder;
  hub.repos["org/model"] = small_repo();
  hub.change("resolve", 1000, [target](const ServerRequest& request, ServerReply& reply) {
    reply = {302, {{"Location", target != nullptr ? target : request.path}}, ""};
  });
  const Error error = failure(parse_model_name("org/model"), fast_options(hub, folder.path()));
  EXPECT_EQ(error.code(), ErrorCode::kNetwork) << error.what();
  return error.what();
}

TEST(Redirects, RefusesDangerousOnes) {
  for (const char* target :
       {"file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "ftp://127.0.0.1/x"}) {
    EXPECT_TRUE(contains(redirected_failure(target), "redirects to")) << target;
  }
  EXPECT_TRUE(contains(redirected_failure(nullptr), "redirects"));
}

TEST_F(PullTest, AsksForAnExpiredStorageAddressAgain) {
  hub.repos["org/model"].files["model.safetensors"].content = noise(20 * kMiB, 12);
  int storage_requests = 0;
  hub.change("/org/model/model.safetensors", 1000,
             [&](const ServerRequest& request, ServerReply& reply) {
               if (contains(request.path, "resolve")) return;
               if (++storage_requests % 3 == 2) reply = {403, {}, "Request has expired"};
             });
  expect_same_files(hub.repos["org/model"], pull(name, options()));
}

TEST_F(PullTest, OfflineTouchesNoNetwork) {
  PullOptions offline = options();
  offline.settings.offline = true;
  EXPECT_EQ(failure(name, offline).code(), ErrorCode::kNotFound);
  EXPECT_TRUE(hub.api.requests().empty());
  pull(name, options());
  hub.api.forget_requests();
  expect_same_files(hub.repos["org/model"], pull(name, offline));
  EXPECT_TRUE(hub.api.requests().empty());
}

TEST_F(PullTest, IncludeAddsToWhatIsThere) {
  PullOptions some = options();
  some.include = {"*.json"};
  const LocalModel first = pull(name, some);
  EXPECT_EQ(first.manifest.files.size(), 2u);
  some.include = {"*.safetensors"};
  EXPECT_EQ(pull(name, some).manifest.files.size(), 3u);
  EXPECT_EQ(pull(name, options()).manifest.files.size(), 4u);
}

TEST_F(PullTest, EqualFilesComeOnce) {
  for (const char* path : {"a.safetensors", "b/a.safetensors", "c.safetensors"}) {
    hub.repos["org/model"].files[path] = {noise(2 * kMiB, 14), true};
  }
  hub.repos["org/model"].files["copy.json"] = hub.repos["org/model"].files["config.json"];
  expect_same_files(hub.repos["org/model"], pull(name, options()));
  EXPECT_EQ(hub.storage.body_bytes_sent(), 5 * kMiB + 12345);
}

TEST(RetryDelay, GrowsAndHonoursTheServer) {
  using std::chrono::milliseconds;
  NetworkTuning tuning;
  tuning.first_delay = milliseconds(100);
  tuning.max_delay = milliseconds(1000);
  const TransientError plain("x");
  EXPECT_EQ(retry_delay(tuning, 1, plain, 0.5), milliseconds(100));
  EXPECT_EQ(retry_delay(tuning, 3, plain, 0.5), milliseconds(400));
  EXPECT_EQ(retry_delay(tuning, 100, plain, 0.5), milliseconds(1000));
  EXPECT_EQ(retry_delay(tuning, 1, plain, 0), milliseconds(75));
  EXPECT_EQ(retry_delay(tuning, 1, TransientError("x", milliseconds(7000)), 0), milliseconds(7000));
  EXPECT_THROW(retry_delay(tuning, 1, TransientError("x", std::chrono::hours(1)), 0),
               TransientError);
}

TEST_F(PullTest, StopsWhenTold) {
  hub.change("model.safetensors", 1000, [](const ServerRequest&, ServerReply& reply) {
    reply.trickle_bytes = 4096;
    reply.trickle_ms = 5;
  });
  std::atomic<bool> cancel{false};
  PullOptions watched = options();
  watched.cancel = [&] { return cancel.load(); };
  watched.progress = [&](const PullProgress& now) {
    if (now.network_bytes > 100'000) cancel = true;
  };
  EXPECT_THROW(pull(name, watched), PullCancelled);
  EXPECT_LT(hub.storage.body_bytes_sent(), 3 * kMiB);
  EXPECT_FALSE(ModelStore(watched.settings).find(name));
}

TEST_F(PullTest, ProgressEndsWhereItShould) {
  PullProgress last;
  PullOptions watched = options();
  watched.progress = [&](const PullProgress& now) { last = now; };
  pull(name, watched);
  EXPECT_EQ(last.phase, PullProgress::Phase::kDone);
  EXPECT_EQ(last.done_bytes, last.total_bytes);
  EXPECT_EQ(last.done_files, 4u);
  EXPECT_EQ(last.network_bytes, last.total_bytes);
}

TEST_F(PullTest, RecheckReplacesDamagedFiles) {
  const LocalModel model = pull(name, options());
  const auto path = model.path / "model.safetensors";
  std::filesystem::permissions(path, std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  {
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(1000);
    stream << "damage";
  }
  PullOptions careful = options();
  careful.recheck = true;
  expect_same_files(hub.repos["org/model"], pull(name, careful));
}

}  // namespace
}  // namespace sampan
