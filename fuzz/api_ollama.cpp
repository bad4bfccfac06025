// Bodies of Ollama's routes.
#include "api_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr const char* kPaths[] = {"/api/generate", "/api/chat", "/api/embed",
                                           "/api/embeddings", "/api/show"};
  return sampan::api_fuzz::run(data, size, kPaths);
}
