#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "hub/fake_hub.h"
#include "hub/pull.h"

namespace {

// The process that the interruption tests kill: test_hub --child-pull ENDPOINT FOLDER MODEL
// [FILE-SIZE-LIMIT]
int child_pull(char** arguments, int count) {
  using namespace sampan;
  PullOptions options;
  options.settings.store_root = std::filesystem::path(arguments[1]) / "store";
  options.settings.huggingface_endpoint = options.settings.modelscope_endpoint = arguments[0];
  options.network.first_delay = std::chrono::milliseconds(10);
  if (count > 3) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{std::strtoul(arguments[3], nullptr, 10),
                       std::strtoul(arguments[3], nullptr, 10)};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  try {
    pull(parse_model_name(arguments[2]), options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 5 && std::string_view(argv[1]) == "--child-pull")
    return child_pull(argv + 2, argc - 2);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
