// A config.json with a quantization_config.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "models/json_object.h"
#include "models/quantized_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded() || !root.is_object()) return 0;
  try {
    sampan::quantization_config_from_json(sampan::JsonObject(root, "config.json"));
  } catch (const sampan::Error&) {
  }
  return 0;
}
