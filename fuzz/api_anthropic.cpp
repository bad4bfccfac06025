// Bodies of Anthropic's routes.
#include "api_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr const char* kPaths[] = {"/v1/messages", "/v1/messages/count_tokens"};
  return sampan::api_fuzz::run(data, size, kPaths);
}
