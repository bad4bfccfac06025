#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/attention.h"
#include "kernels/cache_codes.h"
#include "kernels/isa.h"
#include "tensor/half.h"

namespace sampan {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> random_floats(std::size_t count, std::uint32_t seed,
                                        float spread = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> out(count);
  for (float& value : out) value = normal(engine);
  return out;
}

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : kAllIsas) {
    if (isa_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Rows of `width` as a cache of the type gives them back.
inline void round_as_stored(DType dtype, std::int64_t width, std::vector<float>& rows) {
  if (dtype == DType::kF16) {
    for (float& x : rows) x = f16_to_float(float_to_f16(x));
  }
  if (dtype != DType::kQ8_0) return;
  std::vector<std::int8_t> codes(static_cast<std::size_t>(width));
  std::vector<std::uint16_t> scales(static_cast<std::size_t>(cache_scales(width)));
  for (float* row = rows.data(); row != rows.data() + rows.size(); row += width) {
    encode_cache_row(row, width, codes.data(), scales.data());
    decode_cache_row(codes.data(), scales.data(), width, row);
  }
}

// Pages of one sequence; memory that holds no position is NaN.
class Pages {
 public:
  Pages(std::int64_t page_bytes, std::int64_t length) {
    for (std::int64_t i = 0; i < (length + kKvPagePositions - 1) / kKvPagePositions; ++i) {
      memory_.emplace_back(static_cast<std::size_t>(page_bytes), std::byte{0xFF});
      table_.push_back(memory_.back().data());
    }
  }

  std::byte* const* table() const { return table_.data(); }
  bool operator==(const Pages& other) const { return memory_ == other.memory_; }

 private:
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> table_;
};

template <typename Sequence>
std::vector<AttentionQuery> consecutive(const Sequence& sequence, std::int64_t first,
                                        std::int64_t count) {
  std::vector<AttentionQuery> queries;
  for (std::int64_t i = 0; i < count; ++i) {
    queries.push_back({static_cast<std::int32_t>(first + i), sequence.pages()});
  }
  return queries;
}

// The outputs of attend(q, queries) for runs of `chunk` of the queries, one after the other; q has
// `row` floats a query.
template <typename Attend>
std::vector<float> in_chunks(const std::vector<AttentionQuery>& queries, const float* q,
                             std::int64_t row, std::size_t chunk, const Attend& attend) {
  std::vector<float> parts;
  for (std::size_t i = 0; i < queries.size(); i += chunk) {
    const auto begin = queries.begin() + static_cast<std::ptrdiff_t>(i);
    const std::size_t count = std::min(chunk, queries.size() - i);
    const std::vector<AttentionQuery> some(begin, begin + static_cast<std::ptrdiff_t>(count));
    const std::vector<float> out = attend(q + static_cast<std::int64_t>(i) * row, some);
    parts.insert(parts.end(), out.begin(), out.end());
  }
  return parts;
}

}  // namespace sampan
