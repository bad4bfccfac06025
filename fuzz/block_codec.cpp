// The first byte picks a type and a direction; the rest is a row of blocks or of floats.

#include "kernels/block_codec.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto dtype = static_cast<sampan::DType>((data[0] & 0x7F) % sampan::kFileDTypeCount);
  if (!sampan::can_quantize(dtype)) return 0;
  const bool encode = (data[0] & 0x80) != 0;
  const sampan::DTypeInfo& info = sampan::dtype_info(dtype);
  ++data, --size;

  if (!encode) {  // exactly the row's bytes, so that a sanitizer sees one read too many
    const std::size_t blocks = size / static_cast<std::size_t>(info.block_bytes);
    std::vector<std::byte> row(blocks * static_cast<std::size_t>(info.block_bytes));
    if (!row.empty()) std::memcpy(row.data(), data, row.size());
    std::vector<float> out(blocks * static_cast<std::size_t>(info.block_elements));
    sampan::dequantize_row(dtype, row.data(), static_cast<std::int64_t>(out.size()), out.data());
    return 0;
  }
  const auto block = static_cast<std::size_t>(info.block_elements);
  std::vector<float> x(size / sizeof(float) / block * block);
  if (!x.empty()) std::memcpy(x.data(), data, x.size() * sizeof(float));
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> row(static_cast<std::size_t>(sampan::row_bytes(dtype, n)));
  sampan::quantize_row(dtype, x.data(), n, nullptr, row.data());
  std::vector<float> back(x.size());
  sampan::dequantize_row(dtype, row.data(), n, back.data());
  if (sampan::is_block_type(dtype)) {
    for (const float value : back) SAMPAN_CHECK(!std::isnan(value));
  }
  sampan::quantize_row(dtype, x.data(), n, x.data(), row.data());  // weights of any kind
  return 0;
}
