// Parses bytes as a safetensors file and checks what the parser promises: the tensors tile the
// data.

#include "formats/safetensors.h"

#include <cstddef>
#include <cstdint>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const sampan::SafetensorsFile file(bytes);
    std::uint64_t end = 0;
    for (const sampan::TensorDescriptor& tensor : file.tensors()) {
      SAMPAN_CHECK(end == 0 || tensor.offset == end);
      SAMPAN_CHECK(sampan::checked_tensor_bytes(tensor.dtype, tensor.shape) == tensor.bytes);
      end = tensor.offset + tensor.bytes;
    }
    SAMPAN_CHECK(end == 0 || end == size);
  } catch (const sampan::Error&) {
  }
  return 0;
}
