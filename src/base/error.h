#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sampan {

enum class ErrorCode {
  kInvalidArgument,  // a flag, an id, a parameter that cannot be
  kInvalidData,      // a file or a reply that breaks its format
  kNotFound,
  kUnsupported,  // well-formed, but not a thing this build handles
  kPermission,   // 401, 403, EACCES
  kIo,           // disk and file system
  kNetwork,
  kLimit,      // a limit of ours was exceeded (steps, sizes, context)
  kCancelled,  // the user stopped it
};

// What the world did wrong: a file, a request, the network. The message is one line for the user,
// names the thing and, where two numbers disagree, both ("gguf: tensor blk.3.attn_q: 4096 bytes
// declared, 2048 left"). It is caught at the request, thread and main boundary, where it becomes an
// HTTP status or exit code 2.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// A bug of ours (a CHECK that failed); exit code 1. No file, request or database row can cause one.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Throws Error with a formatted message: fail(ErrorCode::kInvalidData, "gguf: version {} is not 2
// or 3", version).
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// A piece of an untrusted string that is safe to show in a one-line message: control characters
// (line and paragraph separators and changes of the reading direction too) and broken UTF-8 escaped
// as \xNN, at most max_bytes of the result (then "…").
std::string printable(std::string_view untrusted, std::size_t max_bytes = 80);

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace sampan

// States what only a bug of ours can break.
#define SAMPAN_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::sampan::check_failed(#condition, __FILE__, __LINE__))
