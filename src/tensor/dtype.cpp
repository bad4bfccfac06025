#include "tensor/dtype.h"

#include <array>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},    {"F64", 1, 8},
    {"BOOL", 1, 1},     {"U8", 1, 1},       {"I8", 1, 1},      {"U16", 1, 2},
    {"I16", 1, 2},      {"U32", 1, 4},      {"I32", 1, 4},     {"U64", 1, 8},
    {"I64", 1, 8},      {"F8_E4M3", 1, 1},  {"F8_E5M2", 1, 1}, {"F8_E8M0", 1, 1},
    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},  {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},   {"Q2_K", 256, 84},  {"Q3_K", 256, 110}, {"Q4_K", 256, 144},
    {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"IQ4_NL", 32, 18}, {"IQ4_XS", 256, 136},
    {"MXFP4", 32, 17},
    {"I4Z", 32, 19},    {"I8Z", 32, 37},    {"F8B", 32, 34},
}};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) { return kInfo[static_cast<std::size_t>(dtype)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kFileDTypeCount; ++i) {
    if (kInfo[static_cast<std::size_t>(i)].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::int64_t row_bytes(DType dtype, std::int64_t columns) {
  const DTypeInfo& info = dtype_info(dtype);
  SAMPAN_CHECK(columns % info.block_elements == 0);
  return columns / info.block_elements * info.block_bytes;
}

}  // namespace sampan
