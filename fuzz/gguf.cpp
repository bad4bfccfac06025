// Parses bytes as a GGUF file and reads back everything that it promises.

#include "formats/gguf.h"

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace {

// Calls every getter of a key; the wrong ones throw.
void read_value(const sampan::GgufFile& gguf, const sampan::GgufEntry& entry) {
  const auto attempt = [](auto getter) {
    try {
      getter();
    } catch (const sampan::Error&) {
    }
  };
  attempt([&] { gguf.find_string(entry.key); });
  attempt([&] { gguf.find_u64(entry.key); });
  attempt([&] { gguf.find_i64(entry.key); });
  attempt([&] { gguf.find_f64(entry.key); });
  attempt([&] { gguf.find_bool(entry.key); });
  attempt([&] { gguf.find_strings(entry.key); });
  attempt([&] { gguf.find_i64s(entry.key); });
  attempt([&] { gguf.find_f64s(entry.key); });
  attempt([&] { gguf.find_bools(entry.key); });
  gguf.value_text(entry);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const sampan::GgufFile gguf(bytes);
    for (const sampan::GgufEntry& entry : gguf.metadata()) read_value(gguf, entry);
    for (const sampan::TensorDescriptor& tensor : gguf.tensors()) {
      SAMPAN_CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
      const auto count = sampan::checked_tensor_bytes(tensor.dtype, tensor.shape);
      SAMPAN_CHECK(count == tensor.bytes);
    }
  } catch (const sampan::Error&) {
  }
  return 0;
}
