#include "kernels/block_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/reference/codec.h"
#include "tensor/half.h"

namespace sampan {
namespace {

// A row is encoded in pieces of this many elements when it has to be cleaned first; a multiple of
// every block size.
constexpr std::int64_t kPiece = 256;

void quantize_f32(const float* x, std::int64_t n, const float*, std::byte* out) {
  if (n > 0) std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof(float));
}

template <std::uint16_t convert(float)>
void quantize_16_bits(const float* x, std::int64_t n, const float*, std::byte* out) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t bits = convert(x[i]);
    std::memcpy(out + 2 * i, &bits, sizeof(bits));
  }
}

QuantizeFunction find_quantize_blocks(DType dtype) {
  if (const auto plain = find_quantize_plain(dtype)) return plain;
  if (const auto affine = find_quantize_affine(dtype)) return affine;
  return find_quantize_scaled(dtype);
}

QuantizeFunction find_quantize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return quantize_f32;
    case DType::kF16:
      return quantize_16_bits<float_to_f16>;
    case DType::kBF16:
      return quantize_16_bits<float_to_bf16>;
    default:
      return find_quantize_blocks(dtype);
  }
}

float finite(float value) {
  if (std::isnan(value)) return 0.0f;
  constexpr float kMax = std::numeric_limits<float>::max();
  return std::clamp(value, -kMax, kMax);
}

bool is_finite(float value) { return std::isfinite(value); }
bool is_weight(float value) { return std::isfinite(value) && value >= 0.0f; }

}  // namespace

void dequantize_row(DType dtype, const std::byte* row, std::int64_t n, float* out) {
  const DequantizeFunction dequantize = find_dequantize(dtype);
  if (dequantize == nullptr) {
    fail(ErrorCode::kUnsupported, "{} cannot be converted to float", dtype_name(dtype));
  }
  SAMPAN_CHECK(n % dtype_info(dtype).block_elements == 0);
  dequantize(row, n, out);
}

bool can_quantize(DType dtype) { return find_quantize(dtype) != nullptr; }

void quantize_row(DType dtype, const float* x, std::int64_t n, const float* importance,
                  std::byte* out) {
  const QuantizeFunction quantize = find_quantize(dtype);
  if (quantize == nullptr) {
    fail(ErrorCode::kUnsupported, "float cannot be converted to {}", dtype_name(dtype));
  }
  SAMPAN_CHECK(n % dtype_info(dtype).block_elements == 0);
  const bool clean = std::all_of(x, x + n, is_finite) &&
                     (importance == nullptr || std::all_of(importance, importance + n, is_weight));
  if (clean || !is_block_type(dtype)) {
    quantize(x, n, importance, out);
    return;
  }
  float values[kPiece], weights[kPiece];
  for (std::int64_t begin = 0; begin < n; begin += kPiece) {
    const std::int64_t count = std::min(kPiece, n - begin);
    std::transform(x + begin, x + begin + count, values, finite);
    if (importance != nullptr) {
      std::transform(importance + begin, importance + begin + count, weights,
                     [](float weight) { return is_weight(weight) ? weight : 0.0f; });
    }
    quantize(values, count, importance != nullptr ? weights : nullptr,
             out + row_bytes(dtype, begin));
  }
}

}  // namespace sampan
