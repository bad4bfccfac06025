#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sampan {

// Element types of tensors: plain numbers, and the block formats of GGUF (layouts in tensor/blocks.h). The numeric values
// are ours; file formats map their own codes to them.
enum class DType : std::uint8_t {
  kF32, kF16, kBF16, kF64,
  kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64,
  kF8E4M3, kF8E5M2, kF8E8M0,
  kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0,
  kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
  kIQ4_NL, kIQ4_XS, kMXFP4,
  kI4Zero, kI8Zero, kF8Block,
};
// The last three are in no file: panels of weights that were published in other quantised forms (kernels/panels.h).
inline constexpr int kFileDTypeCount = static_cast<int>(DType::kMXFP4) + 1;
inline constexpr int kDTypeCount = static_cast<int>(DType::kF8Block) + 1;

struct DTypeInfo {
  std::string_view name;       // as GGUF and safetensors write it: "Q4_K", "BF16"
  std::int64_t block_elements;  // elements a block; 1 for plain numbers
  std::int64_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
std::optional<DType> dtype_from_name(std::string_view name);  // of those that files hold

// True for the GGUF block formats and for those of panels (more than one element a block).
inline bool is_block_type(DType dtype) { return dtype_info(dtype).block_elements > 1; }

// Bytes of one row of `columns` elements; columns must be a multiple of block_elements (CHECK).
std::int64_t row_bytes(DType dtype, std::int64_t columns);

}  // namespace sampan
