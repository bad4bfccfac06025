// Bodies of OpenAI's routes and of those beside them.
#include "api_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr const char* kPaths[] = {
      "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize",
      "/detokenize",          "/v1/rerank",      "/v2/rerank",
  };
  return sampan::api_fuzz::run(data, size, kPaths);
}
