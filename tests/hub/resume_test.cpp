#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "hub/fake_hub.h"
#include "hub/pull.h"

extern char** environ;

namespace sampan {
namespace {

using testing::FakeHub;
using testing::fast_options;
using testing::kMiB;
using testing::noise;
using testing::read_text;
using testing::ServerReply;
using testing::ServerRequest;
using testing::TemporaryFolder;

// This test program again, as a process that pulls hf:org/model.
class PullingProcess {
 public:
  PullingProcess(const FakeHub& hub, const TemporaryFolder& folder,
                 const std::string& file_size_limit = "") {
    // A child's requests order nothing between this thread and the servers' in ThreadSanitizer's
    // eyes; taking the servers' locks after the set-up does.
    static_cast<void>(hub.api.requests());
    static_cast<void>(hub.storage.requests());
    std::vector<std::string> words = {"/proc/self/exe", "--child-pull", hub.api.url(),
                                      folder.path().string(), "hf:org/model"};
    if (!file_size_limit.empty()) words.push_back(file_size_limit);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    error_path_ = folder.path() / "child-error";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, error_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    EXPECT_EQ(::posix_spawn(&pid_, self.c_str(), &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~PullingProcess() {
    if (pid_ > 0) {
      kill_now();
      wait();
    }
  }
  void kill_now() { ::kill(pid_, SIGKILL); }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string error() const { return read_text(error_path_); }

 private:
  pid_t pid_ = 0;
  std::filesystem::path error_path_;
};

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class ResumeTest : public ::testing::Test {
 protected:
  ResumeTest() {
    hub.repos["org/model"].files["model.safetensors"] = {noise(kSize, 21), true};
    hub.repos["org/model"].files["config.json"] = {"{}", false};
  }

  // The journal lists what is safe; each line after the first is a piece of 1 MiB.
  std::size_t pieces_in_journal() const {
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder.path() / "store" / "partial", error)) {
      if (entry.path().extension() != ".journal") continue;
      const std::string text = read_text(entry.path());
      return static_cast<std::size_t>(
          std::max<std::ptrdiff_t>(0, std::count(text.begin(), text.end(), '\n') - 1));
    }
    return 0;
  }

  std::uint64_t requested_bytes() const {
    std::uint64_t total = 0;
    for (const ServerRequest& request : hub.storage.requests()) {
      const auto range = request.range();
      total += range ? range->second - range->first + 1 : kSize;
    }
    return total;
  }

  std::string content() const {
    return hub.repos.at("org/model").files.at("model.safetensors").content;
  }

  void slow_down() {
    hub.change("model.safetensors", 1'000'000,
               [this](const ServerRequest& request, ServerReply& reply) {
                 if (request.path.find("resolve") != std::string::npos || !is_slow) return;
                 reply.trickle_bytes = 64 << 10;
                 reply.trickle_ms = 5;
               });
  }

  static constexpr std::size_t kSize = 24 * kMiB + 5;
  std::atomic<bool> is_slow{true};
  FakeHub hub;
  TemporaryFolder folder;
  const ModelName name = parse_model_name("org/model");
};

TEST_F(ResumeTest, ContinuesAfterKill) {
  slow_down();
  std::size_t safe = 0;
  for (int round = 0; round < 3; ++round) {
    PullingProcess process(hub, folder);
    const std::size_t before = pieces_in_journal();
    ASSERT_TRUE(eventually([&] { return pieces_in_journal() >= before + 4; }));
    process.kill_now();
    EXPECT_EQ(process.wait(), -SIGKILL);
    safe = pieces_in_journal();
    EXPECT_FALSE(ModelStore(hub.settings(folder.path())).find(name));
  }
  ASSERT_GE(safe, 12u);
  ASSERT_LT(safe, 24u);
  const auto listed = ModelStore(hub.settings(folder.path())).list();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_FALSE(listed[0].is_complete);

  is_slow = false;
  hub.storage.forget_requests();
  const LocalModel model = pull(name, fast_options(hub, folder.path()));
  EXPECT_EQ(read_text(model.path / "model.safetensors"), content());
  // Not a byte of what was safe is asked for again. (Counted by what was asked for: the servers of
  // the killed processes' connections may still be sending.)
  EXPECT_EQ(requested_bytes(), kSize - safe * kMiB);
}

TEST_F(ResumeTest, APieceThatTheDiskLostIsFetchedAgain) {
  slow_down();
  {
    PullingProcess process(hub, folder);
    ASSERT_TRUE(eventually([&] { return pieces_in_journal() >= 4; }));
  }
  for (const auto& entry :
       std::filesystem::directory_iterator(folder.path() / "store" / "partial")) {
    if (entry.path().extension() != ".part") continue;
    std::string content = read_text(entry.path());
    std::fill(content.begin(), content.end(), '\0');
    testing::write_text(entry.path(), content);
  }
  is_slow = false;
  hub.storage.forget_requests();
  const LocalModel model = pull(name, fast_options(hub, folder.path()));
  EXPECT_EQ(read_text(model.path / "model.safetensors"), content());
  EXPECT_EQ(requested_bytes(), kSize);
}

TEST_F(ResumeTest, ContinuesAfterAFullDisk) {
  PullingProcess process(hub, folder, std::to_string(10 * kMiB));
  EXPECT_EQ(process.wait(), 2);
  EXPECT_NE(process.error().find("free some space"), std::string::npos) << process.error();
  const LocalModel model = pull(name, fast_options(hub, folder.path()));
  EXPECT_EQ(read_text(model.path / "model.safetensors"), content());
}

TEST_F(ResumeTest, ProcessesShareTheWork) {
  for (int i = 0; i < 6; ++i) {
    hub.repos["org/model"].files["model-" + std::to_string(i) + ".safetensors"] = {
        noise(3 * kMiB, 30 + i), true};
  }
  hub.repos["org/model"].files.erase("model.safetensors");
  hub.change("/org/model/model-", 1'000'000, [](const ServerRequest& request, ServerReply& reply) {
    if (request.path.find("resolve") != std::string::npos) return;
    reply.trickle_bytes = 256 << 10;
    reply.trickle_ms = 5;
  });
  PullingProcess first(hub, folder), second(hub, folder);
  const LocalModel model = pull(name, fast_options(hub, folder.path()));
  EXPECT_EQ(first.wait(), 0) << first.error();
  EXPECT_EQ(second.wait(), 0) << second.error();
  EXPECT_EQ(hub.storage.body_bytes_sent(), 18 * kMiB);
  EXPECT_TRUE(ModelStore(hub.settings(folder.path())).verify(name, {}).bad.empty());
}

TEST_F(ResumeTest, AnotherProcessTakesOverFromADeadOne) {
  slow_down();
  PullingProcess process(hub, folder);
  ASSERT_TRUE(eventually([&] { return pieces_in_journal() >= 4; }));
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    is_slow = false;
    process.kill_now();
  });
  const LocalModel model = pull(name, fast_options(hub, folder.path()));
  killer.join();
  EXPECT_EQ(read_text(model.path / "model.safetensors"), content());
  EXPECT_LT(hub.storage.body_bytes_sent(), kSize + 10 * kMiB);
}

}  // namespace
}  // namespace sampan
