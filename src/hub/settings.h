#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "hub/model_name.h"

namespace sampan {

// Where models come from and where they are kept.
struct HubSettings {
  std::filesystem::path store_root;         // the local store
  std::filesystem::path huggingface_cache;  // the Python client's cache, only read
  std::string huggingface_endpoint = "https://huggingface.co";
  std::string modelscope_endpoint = "https://modelscope.cn";
  std::string huggingface_token;  // empty: none
  std::string modelscope_token;
  bool offline = false;  // nothing touches the network

  const std::string& endpoint(Hub hub) const;
  const std::string& token(Hub hub) const;
};

// The value of an environment variable; nothing where it is unset.
using EnvironmentReader = std::function<std::optional<std::string>(const char* name)>;

// Reads SAMPAN_HOME (default: $XDG_CACHE_HOME/sampan or ~/.cache/sampan), SAMPAN_OFFLINE; for
// Hugging Face HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH (default: $HF_HOME/token), HF_HUB_OFFLINE,
// TRANSFORMERS_OFFLINE, HF_HUB_CACHE, HF_HOME; for ModelScope MODELSCOPE_ENDPOINT and
// MODELSCOPE_API_TOKEN. Endpoints and tokens are checked when they are used. Throws Error
// kInvalidArgument where the store's place cannot be told (no HOME).
HubSettings hub_settings(const EnvironmentReader& environment);
HubSettings hub_settings_from_environment();

}  // namespace sampan
