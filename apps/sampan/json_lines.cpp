#include "json_lines.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sampan {

void for_each_line(const std::string& file, const std::function<std::string(const std::string&)>& reply) {
  std::ifstream stream;
  if (file != "-") {
    stream.open(file, std::ios::binary);
    if (!stream) fail(ErrorCode::kNotFound, "{}: {}", printable(file, 300), std::strerror(errno));
  }
  std::istream& in = file == "-" ? std::cin : stream;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    std::string answer;
    try {
      answer = reply(line);
    } catch (const Error& error) {
      fail(error.code(), "{}: line {}: {}", file == "-" ? "standard input" : printable(file, 300), number, error.what());
    }
    answer += '\n';
    if (std::fwrite(answer.data(), 1, answer.size(), stdout) != answer.size() || std::fflush(stdout) != 0) {
      fail(ErrorCode::kIo, "cannot write to standard output: {}", std::strerror(errno));
    }
  }
}

namespace {

// Lone surrogate escapes (\ud800) name no character, so JSON parsers refuse them; as U+FFFD they are text that any tokenizer takes.
std::string without_lone_surrogates(const std::string& json) {
  const auto code_at = [&](std::size_t at) {  // of an escape \uXXXX, or -1
    if (at + 6 > json.size() || json[at] != '\\' || json[at + 1] != 'u') return -1;
    const std::string digits = json.substr(at + 2, 4);
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return -1;
    return static_cast<int>(std::stoul(digits, nullptr, 16));
  };
  std::string out;
  for (std::size_t i = 0; i < json.size();) {
    if (json[i] != '\\') {
      out += json[i++];
      continue;
    }
    const int code = code_at(i);
    const bool high = code >= 0xD800 && code <= 0xDBFF;
    const bool low = code >= 0xDC00 && code <= 0xDFFF;
    const int next = high ? code_at(i + 6) : -1;
    const bool pair = high && next >= 0xDC00 && next <= 0xDFFF;
    const std::size_t length = pair ? 12 : code >= 0 ? 6 : 2;
    out += (high && !pair) || low ? "\\ufffd" : json.substr(i, length);
    i += length;
  }
  return out;
}

}  // namespace

void for_each_json_line(const std::string& file, const std::function<std::string(const nlohmann::json&)>& reply) {
  for_each_line(file, [&](const std::string& line) {
    const nlohmann::json json = nlohmann::json::parse(without_lone_surrogates(line), nullptr, false);
    if (json.is_discarded()) fail(ErrorCode::kInvalidData, "not valid JSON");
    return reply(json);
  });
}

}  // namespace sampan
