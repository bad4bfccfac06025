// Parses bytes as model.safetensors.index.json; no shard may lead out of the folder.

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const sampan::SafetensorsIndex index({reinterpret_cast<const char*>(data), size});
    for (const std::string& shard : index.shards()) {
      SAMPAN_CHECK(shard.find('/') == std::string::npos && shard[0] != '.');
    }
    for (const auto& entry : index.entries()) SAMPAN_CHECK(entry.shard < index.shards().size());
  } catch (const sampan::Error&) {
  }
  return 0;
}
