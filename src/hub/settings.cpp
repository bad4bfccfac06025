#include "hub/settings.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/file_system.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kMaxTokenFileBytes = 64 << 10;

std::optional<std::string> non_empty(const EnvironmentReader& environment, const char* name) {
  auto value = environment(name);
  if (value && value->empty()) value.reset();
  return value;
}

bool is_set(const EnvironmentReader& environment, const char* name) {
  std::string value = environment(name).value_or("");
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

// A folder from the environment, with a leading "~/" replaced.
fs::path folder(const EnvironmentReader& environment, const std::string& value) {
  if (!value.starts_with("~/")) return value;
  return fs::path(environment("HOME").value_or("")) / value.substr(2);
}

// $XDG_CACHE_HOME, else ~/.cache.
fs::path cache_home(const EnvironmentReader& environment) {
  if (const auto xdg = non_empty(environment, "XDG_CACHE_HOME")) return folder(environment, *xdg);
  if (const auto home = non_empty(environment, "HOME")) return fs::path(*home) / ".cache";
  fail(ErrorCode::kInvalidArgument,
       "neither HOME nor SAMPAN_HOME is set: no place for the models; set SAMPAN_HOME");
}

fs::path huggingface_home(const EnvironmentReader& environment) {
  if (const auto home = non_empty(environment, "HF_HOME")) return folder(environment, *home);
  return cache_home(environment) / "huggingface";
}

fs::path huggingface_cache(const EnvironmentReader& environment) {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto cache = non_empty(environment, name)) return folder(environment, *cache);
  }
  return huggingface_home(environment) / "hub";
}

std::string trimmed(std::string token) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!token.empty() && is_space(token.back())) token.pop_back();
  while (!token.empty() && is_space(token.front())) token.erase(0, 1);
  return token;
}

// Settings are read by every command: a token file that cannot be read must not stop those that
// need no token.
std::string token_in_file(const fs::path& path) {
  try {
    return trimmed(read_file(path, kMaxTokenFileBytes));
  } catch (const Error&) {
    return {};
  }
}

std::string huggingface_token(const EnvironmentReader& environment) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const auto token = non_empty(environment, name)) return trimmed(*token);
  }
  const auto chosen = non_empty(environment, "HF_TOKEN_PATH");
  if (!chosen && is_set(environment, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  const fs::path path =
      chosen ? folder(environment, *chosen) : huggingface_home(environment) / "token";
  return file_size_if_present(path) ? token_in_file(path) : std::string();
}

}  // namespace

const std::string& HubSettings::endpoint(Hub hub) const {
  return hub == Hub::kHuggingFace ? huggingface_endpoint : modelscope_endpoint;
}

const std::string& HubSettings::token(Hub hub) const {
  return hub == Hub::kHuggingFace ? huggingface_token : modelscope_token;
}

HubSettings hub_settings(const EnvironmentReader& environment) {
  HubSettings settings;
  if (const auto home = non_empty(environment, "SAMPAN_HOME")) {
    settings.store_root = folder(environment, *home);
  } else {
    settings.store_root = cache_home(environment) / "sampan";
  }
  const bool has_home = environment("HOME").has_value() ||
                        environment("XDG_CACHE_HOME").has_value() ||
                        environment("HF_HOME").has_value();
  if (has_home || environment("HF_HUB_CACHE").has_value()) {
    settings.huggingface_cache = huggingface_cache(environment);
  }
  if (const auto endpoint = non_empty(environment, "HF_ENDPOINT"))
    settings.huggingface_endpoint = *endpoint;
  if (const auto endpoint = non_empty(environment, "MODELSCOPE_ENDPOINT"))
    settings.modelscope_endpoint = *endpoint;
  if (has_home || environment("HF_TOKEN").has_value() || environment("HF_TOKEN_PATH").has_value()) {
    settings.huggingface_token = huggingface_token(environment);
  }
  if (const auto token = non_empty(environment, "MODELSCOPE_API_TOKEN")) {
    settings.modelscope_token = trimmed(*token);
  }
  settings.offline = is_set(environment, "SAMPAN_OFFLINE") ||
                     is_set(environment, "HF_HUB_OFFLINE") ||
                     is_set(environment, "TRANSFORMERS_OFFLINE");
  return settings;
}

HubSettings hub_settings_from_environment() {
  return hub_settings([](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  });
}

}  // namespace sampan
