#include "hub/settings.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "hub/fake_hub.h"
#include "hub/hub_client.h"

namespace sampan {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

HubSettings settings(std::map<std::string, std::string> environment) {
  return hub_settings([environment](const char* name) -> std::optional<std::string> {
    const auto it = environment.find(name);
    if (it == environment.end()) return std::nullopt;
    return it->second;
  });
}

TEST(Settings, HaveDefaults) {
  const HubSettings defaults = settings({{"HOME", "/home/x"}});
  EXPECT_EQ(defaults.store_root, "/home/x/.cache/sampan");
  EXPECT_EQ(defaults.huggingface_cache, "/home/x/.cache/huggingface/hub");
  EXPECT_EQ(defaults.huggingface_endpoint, "https://huggingface.co");
  EXPECT_EQ(defaults.modelscope_endpoint, "https://modelscope.cn");
  EXPECT_FALSE(defaults.offline);
  EXPECT_THROW(settings({}), Error);
}

TEST(Settings, FollowTheEnvironment) {
  const HubSettings all = settings({{"HOME", "/h"},
                                    {"SAMPAN_HOME", "~/models"},
                                    {"HF_ENDPOINT", "https://mirror"},
                                    {"HF_TOKEN", " hf_x\n"},
                                    {"HF_HOME", "/hf"},
                                    {"HF_HUB_OFFLINE", "True"},
                                    {"MODELSCOPE_ENDPOINT", "http://ms"},
                                    {"MODELSCOPE_API_TOKEN", "ms-x"}});
  EXPECT_EQ(all.store_root, "/h/models");
  EXPECT_EQ(all.huggingface_endpoint, "https://mirror");
  EXPECT_EQ(all.huggingface_token, "hf_x");
  EXPECT_EQ(all.huggingface_cache, "/hf/hub");
  EXPECT_EQ(all.modelscope_endpoint, "http://ms");
  EXPECT_EQ(all.modelscope_token, "ms-x");
  EXPECT_TRUE(all.offline);
  EXPECT_EQ(settings({{"XDG_CACHE_HOME", "/xdg"}}).store_root, "/xdg/sampan");
  EXPECT_EQ(settings({{"HOME", "/h"}, {"HF_HUB_CACHE", "/c"}}).huggingface_cache, "/c");
  EXPECT_TRUE(settings({{"HOME", "/h"}, {"SAMPAN_OFFLINE", "1"}}).offline);
  EXPECT_FALSE(settings({{"HOME", "/h"}, {"SAMPAN_OFFLINE", "0"}}).offline);
}

TEST(Settings, ReadTokenFiles) {
  const TemporaryFolder folder;
  write_text(folder.path() / "token", "hf_file\n");
  EXPECT_EQ(settings({{"HOME", "/h"}, {"HF_TOKEN_PATH", (folder.path() / "token").string()}})
                .huggingface_token,
            "hf_file");
  EXPECT_EQ(settings({{"HOME", "/h"}, {"HF_HOME", folder.path().string()}}).huggingface_token,
            "hf_file");
  EXPECT_EQ(settings({{"HF_HOME", folder.path().string()},
                      {"HOME", "/h"},
                      {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}})
                .huggingface_token,
            "");
}

TEST(Settings, TokensThatWouldForgeHeadersAreRefusedWhenUsed) {
  const HubSettings bad =
      settings({{"HOME", "/h"}, {"HF_TOKEN", "a\r\nX-Evil: 1"}, {"MODELSCOPE_API_TOKEN", "a b"}});
  EXPECT_THROW(make_hub_client(parse_model_name("a/b"), bad), Error);
  EXPECT_THROW(make_hub_client(parse_model_name("ms:a/b"), bad), Error);
}

}  // namespace
}  // namespace sampan
