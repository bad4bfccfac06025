#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sampling_overrides.h"

namespace sampan {

// A conversation with a model that a running server serves, by its OpenAI API.
class RemoteChat {
 public:
  struct Options {
    std::string url;    // http://127.0.0.1:8080
    std::string key;    // "" = none
    std::string model;  // name on the server
    SamplingOverrides sampling;
    bool greedy = false;
    std::int64_t max_tokens = 0;  // 0 = until the context is full
    std::vector<std::string> stop_strings;
    nlohmann::ordered_json variables = nlohmann::ordered_json::object();
    bool ignore_eos = false;
  };
  using OnText = std::function<void(std::string_view text, bool reasoning)>;

  explicit RemoteChat(Options options) : options_(std::move(options)) {}

  void set_system(const std::string& text);  // empty removes it
  void clear();                              // keeps the system message

  // Appends a user message, streams the answer and appends it. True when interrupted() stopped it. Throws Error kNetwork for a server
  // that cannot be reached or breaks off, and the server's own refusals as kInvalidArgument, kNotFound, kPermission or kLimit; the
  // conversation is then as it was.
  bool ask(const std::string& user, const std::function<bool()>& interrupted, const OnText& on_text);

 private:
  std::string request_body() const;

  Options options_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
};

}  // namespace sampan
