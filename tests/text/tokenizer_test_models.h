#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "text/tokenizer.h"

namespace sampan::tokenizer_test {

// A tokenizer.json over the 256 bytes (ids 0-255 in byte order) with the merges a+b, ab+c, Ġ+a and
// these added tokens.
inline nlohmann::json byte_model(const nlohmann::json& added = nlohmann::json::array()) {
  using nlohmann::json;
  json vocab = json::object();
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool own = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int c = own ? byte : next++;
    std::string text;
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      text += static_cast<char>(0xC0 | (c >> 6));
      text += static_cast<char>(0x80 | (c & 0x3F));
    }
    vocab[text] = byte;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  vocab["Ġa"] = 258;
  return {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", json::array({"a b", json::array({"ab", "c"}), "Ġ a"})}}}};
}

inline nlohmann::json added_token(const std::string& content, int id, bool special = true) {
  return {{"content", content}, {"id", id},        {"special", special},  {"normalized", false},
          {"lstrip", false},    {"rstrip", false}, {"single_word", false}};
}

inline std::shared_ptr<const Tokenizer> load(const nlohmann::json& file) {
  return load_tokenizer_json(file.dump());
}

}  // namespace sampan::tokenizer_test
