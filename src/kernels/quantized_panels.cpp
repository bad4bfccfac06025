#include "kernels/quantized_panels.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/panels.h"
#include "tensor/half.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

using std::uint16_t;
using std::uint32_t;
using std::uint8_t;

constexpr std::int64_t kTileColumns = 32;
constexpr std::size_t kTileBytes = 512;
// Where codes lie along the rows, panels that are packed side by side, so that a page of the file
// serves several of them.
constexpr std::int64_t kPanelsAtOnce = 16;
constexpr std::int64_t kPackJobsPerThread = 4;

// --- FP8 as integers

// The power of two of a step is that of the largest magnitude less so many.
constexpr int kStepsBelow = 6;
constexpr int kLeastExponent = -9 - kStepsBelow;  // of the smallest E4M3 number, 2^-9
constexpr int kExponents = 8 - -9 + 1;

struct Fp8Tables {
  // [step exponent - kLeastExponent][code]
  std::array<std::array<uint8_t, 256>, kExponents> codes;
  std::array<std::int8_t, 128> exponent_of_largest;  // for a largest magnitude's code
};

Fp8Tables make_fp8_tables() {
  Fp8Tables tables = {};
  const std::array<float, 256>& values = quantized_value_table(QuantizedValues::kE4M3);
  for (std::size_t code = 1; code < 127; ++code) {
    tables.exponent_of_largest[code] = static_cast<std::int8_t>(std::ilogb(values[code]) - 6);
  }
  tables.exponent_of_largest[0] = kLeastExponent;
  for (int e = 0; e < kExponents; ++e) {
    for (std::size_t code = 0; code < 256; ++code) {
      const float steps = std::ldexp(values[code], -(kLeastExponent + e));
      if (!(std::abs(steps) < 128.0f)) continue;  // larger than this step's largest, or NaN
      tables.codes[static_cast<std::size_t>(e)][code] =
          static_cast<uint8_t>(static_cast<int>(std::nearbyint(steps)));
    }
  }
  return tables;
}

const Fp8Tables& fp8_tables() {
  static const Fp8Tables tables = make_fp8_tables();
  return tables;
}

// The largest magnitude's code of each row.
void largest_codes(const QuantizedTile& tile, uint8_t (&largest)[kPanelRows]) {
  uint8_t columns[kPanelRows][4] = {};
  for (const auto& group : tile.codes) {
    for (int r = 0; r < kPanelRows; ++r) {
      for (int j = 0; j < 4; ++j) {
        columns[r][j] = std::max<uint8_t>(columns[r][j], group[r][j] & 0x7F);
      }
    }
  }
  for (int r = 0; r < kPanelRows; ++r) largest[r] = *std::max_element(columns[r], columns[r] + 4);
}

// Turns the tile's codes into signed integers; exponents[r]: the step is 2^exponents[r]. False
// where a code is NaN.
bool fp8_to_integers(QuantizedTile& tile, int (&exponents)[kPanelRows]) {
  const Fp8Tables& tables = fp8_tables();
  uint8_t largest[kPanelRows];
  largest_codes(tile, largest);
  for (int r = 0; r < kPanelRows; ++r) {
    if (largest[r] == 0x7F) return false;
    exponents[r] = tables.exponent_of_largest[largest[r]];
    const auto& code_of = tables.codes[static_cast<std::size_t>(exponents[r] - kLeastExponent)];
    for (auto& group : tile.codes) {
      uint32_t codes;
      std::memcpy(&codes, group[r], sizeof(codes));
      codes = uint32_t{code_of[codes & 0xFF]} | uint32_t{code_of[codes >> 8 & 0xFF]} << 8 |
              uint32_t{code_of[codes >> 16 & 0xFF]} << 16 | uint32_t{code_of[codes >> 24]} << 24;
      std::memcpy(group[r], &codes, sizeof(codes));
    }
  }
  return true;
}

// --- a tile of a panel

enum class Fit : uint8_t { kYes, kNo, kNan };

void put_bytes(const QuantizedTile& tile, uint8_t flip, uint8_t* out) {
  const uint8_t* codes = &tile.codes[0][0][0];
  for (std::size_t i = 0; i < kTileBytes; ++i) out[i] = codes[i] ^ flip;
}

void put_nibbles(const QuantizedTile& tile, uint8_t* out) {
  const uint8_t* codes = &tile.codes[0][0][0];
  for (std::size_t i = 0; i < kTileBytes / 2; ++i) {
    out[i] = static_cast<uint8_t>(codes[i] | codes[i + kTileBytes / 2] << 4);
  }
}

// Whether a row's codes are all its zero point, so that its scale does not matter.
bool is_zero(const QuantizedTile& tile, std::size_t row) {
  for (const auto& group : tile.codes) {
    for (const uint8_t code : group[row]) {
      if (code != tile.zeros[row]) return false;
    }
  }
  return true;
}

// Whether a number is a normal one of f16, and then its bits.
bool to_half(float value, uint16_t& bits) {
  const auto single = std::bit_cast<uint32_t>(value);
  const uint32_t exponent = single >> 23 & 0xFF;
  bits =
      static_cast<uint16_t>((single >> 16 & 0x8000u) | (((single >> 13) - (112u << 10)) & 0x7FFFu));
  return (single & 0x1FFFu) == 0 && exponent - 113 < 30;
}

Fit put_half_scales(const QuantizedTile& tile, uint8_t* out) {
  uint16_t halves[kPanelRows];
  bool normal = true;
  for (std::size_t r = 0; r < kPanelRows; ++r) normal &= to_half(tile.scales[r], halves[r]);
  for (std::size_t r = 0; r < kPanelRows && !normal; ++r) {
    halves[r] = float_to_f16(tile.scales[r]);
    if (f16_to_float(halves[r]) == tile.scales[r]) continue;
    if (!is_zero(tile, r)) return Fit::kNo;
    halves[r] = 0;
  }
  std::memcpy(out, halves, sizeof(halves));
  return Fit::kYes;
}

// `rows`: how many of the tile's are the matrix's; the others are zeros.
bool has_zeros_at(const QuantizedTile& tile, std::size_t rows, std::int32_t zero) {
  return std::all_of(tile.zeros, tile.zeros + rows, [&](std::int32_t z) { return z == zero; });
}

Fit put_q4_0(QuantizedTile& tile, std::size_t rows, uint8_t* header, uint8_t* codes) {
  put_nibbles(tile, codes);
  return has_zeros_at(tile, rows, 8) ? put_half_scales(tile, header) : Fit::kNo;
}

Fit put_i4_zero(QuantizedTile& tile, std::size_t, uint8_t* header, uint8_t* codes) {
  put_nibbles(tile, codes);
  for (int r = 0; r < kPanelRows; ++r) header[32 + r] = static_cast<uint8_t>(tile.zeros[r]);
  return put_half_scales(tile, header);
}

Fit put_q8_0(QuantizedTile& tile, std::size_t rows, uint8_t* header, uint8_t* codes) {
  put_bytes(tile, 0x80, codes);
  return has_zeros_at(tile, rows, 128) ? put_half_scales(tile, header) : Fit::kNo;
}

void put_i8_header(const QuantizedTile& tile, uint8_t* header) {
  std::memcpy(header, tile.scales, sizeof(tile.scales));
  for (int r = 0; r < kPanelRows; ++r) header[64 + r] = static_cast<uint8_t>(tile.zeros[r]);
}

Fit put_i8_zero(QuantizedTile& tile, std::size_t, uint8_t* header, uint8_t* codes) {
  put_bytes(tile, 0x80, codes);
  put_i8_header(tile, header);
  return Fit::kYes;
}

// Codes of 4 bits less their zero points.
Fit put_i4_as_i8(QuantizedTile& tile, std::size_t, uint8_t* header, uint8_t* codes) {
  for (auto& group : tile.codes) {
    for (int r = 0; r < kPanelRows; ++r) {
      for (uint8_t& code : group[r]) code = static_cast<uint8_t>(code - tile.zeros[r]);
    }
  }
  std::fill(std::begin(tile.zeros), std::end(tile.zeros), 128);
  put_bytes(tile, 0, codes);
  put_i8_header(tile, header);
  return Fit::kYes;
}

Fit put_fp8_as_i8(QuantizedTile& tile, std::size_t, uint8_t* header, uint8_t* codes) {
  int exponents[kPanelRows];
  if (!fp8_to_integers(tile, exponents)) return Fit::kNan;
  for (int r = 0; r < kPanelRows; ++r) tile.scales[r] *= std::ldexp(1.0f, exponents[r]);
  std::fill(std::begin(tile.zeros), std::end(tile.zeros), 128);
  put_bytes(tile, 0, codes);
  put_i8_header(tile, header);
  return Fit::kYes;
}

Fit put_f8_block(QuantizedTile& tile, std::size_t rows, uint8_t* header, uint8_t* codes) {
  const float scale = tile.scales[0];
  if (std::any_of(tile.scales, tile.scales + rows, [&](float s) { return s != scale; })) {
    return Fit::kNo;
  }
  int exponents[kPanelRows];
  if (!fp8_to_integers(tile, exponents)) return Fit::kNan;
  for (int r = 0; r < kPanelRows; ++r) header[r] = static_cast<uint8_t>(exponents[r] + 127);
  std::memcpy(header + kPanelRows, &scale, sizeof(scale));
  put_bytes(tile, 0, codes);
  return Fit::kYes;
}

Fit put_mxfp4(QuantizedTile& tile, std::size_t, uint8_t* header, uint8_t* codes) {
  for (int r = 0; r < kPanelRows; ++r) {
    header[r] = static_cast<uint8_t>(std::bit_cast<uint32_t>(tile.scales[r]) >> 23);
  }
  put_nibbles(tile, codes);
  return Fit::kYes;
}

using PutTile = Fit (*)(QuantizedTile& tile, std::size_t rows, uint8_t* header, uint8_t* codes);

PutTile putter(const QuantizedMatrix& source, DType type) {
  switch (type) {
    case DType::kQ4_0:
      return put_q4_0;
    case DType::kI4Zero:
      return put_i4_zero;
    case DType::kQ8_0:
      return put_q8_0;
    case DType::kI8Zero:
      if (source.values() == QuantizedValues::kE4M3) return put_fp8_as_i8;
      return source.bits() == 4 ? put_i4_as_i8 : put_i8_zero;
    case DType::kF8Block:
      return put_f8_block;
    case DType::kMXFP4:
      return put_mxfp4;
    default:
      return nullptr;
  }
}

// --- panels

[[noreturn]] void fail_first_nan(const QuantizedMatrix& source, std::int64_t tile,
                                 std::span<const std::int64_t> rows) {
  QuantizedTile codes;
  source.read_tile(tile, rows, codes);
  for (std::size_t i = 0; i < kTileBytes; ++i) {
    const std::size_t row = i / kTileColumns, column = i % kTileColumns;
    if ((codes.codes[column / 4][row][column % 4] & 0x7F) != 0x7F) continue;
    source.fail_nan(rows[row], tile * kTileColumns + static_cast<std::int64_t>(column));
  }
  check_failed("a NaN is there", __FILE__, __LINE__);
}

struct PanelRows {
  std::int64_t rows[kPanelRows];
  std::size_t count;

  std::span<const std::int64_t> span() const { return {rows, count}; }
};

class QuantizedPacking {
 public:
  QuantizedPacking(const QuantizedMatrix& source, DType type,
                   std::span<const std::int64_t> row_order, std::byte* out)
      : source_(source),
        put_(putter(source, type)),
        format_(panel_format(type)),
        row_order_(row_order),
        rows_(row_order.empty() ? source.rows() : static_cast<std::int64_t>(row_order.size())),
        header_bytes_(panel_header_bytes(type, source.columns())),
        bytes_(panel_bytes(type, source.columns())),
        out_(reinterpret_cast<uint8_t*>(out)) {
    SAMPAN_CHECK(put_ != nullptr);
  }

  std::int64_t panels() const { return ceil_div(rows_, kPanelRows); }

  // Packs panels [begin, end), at most kPanelsAtOnce; false where the type does not hold them.
  bool pack(std::int64_t begin, std::int64_t end) const {
    PanelRows rows[kPanelsAtOnce];
    const std::int64_t headers = source_.columns() / kTileColumns * format_.header_bytes;
    for (std::int64_t panel = begin; panel < end; ++panel) {
      rows[panel - begin] = rows_of(panel);
      std::memset(out_ + panel * bytes_ + headers, 0,
                  static_cast<std::size_t>(header_bytes_ - headers));
    }
    QuantizedTile tile;
    for (std::int64_t t = 0; t < source_.columns() / kTileColumns; ++t) {
      for (std::int64_t panel = begin; panel < end; ++panel) {
        const PanelRows& own = rows[panel - begin];
        source_.read_tile(t, own.span(), tile);
        uint8_t* header = out_ + panel * bytes_;
        uint8_t* codes = header + header_bytes_ + t * format_.code_bytes;
        const Fit fit = put_(tile, own.count, header + t * format_.header_bytes, codes);
        if (fit == Fit::kNan) fail_first_nan(source_, t, own.span());
        if (fit == Fit::kNo) return false;
      }
    }
    return true;
  }

 private:
  PanelRows rows_of(std::int64_t panel) const {
    PanelRows out;
    const std::int64_t first = panel * kPanelRows;
    out.count = static_cast<std::size_t>(std::min<std::int64_t>(kPanelRows, rows_ - first));
    for (std::size_t r = 0; r < out.count; ++r) {
      const auto row = static_cast<std::size_t>(first) + r;
      out.rows[r] = row_order_.empty() ? static_cast<std::int64_t>(row) : row_order_[row];
      SAMPAN_CHECK(out.rows[r] >= 0 && out.rows[r] < source_.rows());
    }
    return out;
  }

  const QuantizedMatrix& source_;
  PutTile put_;
  const PanelFormat& format_;
  std::span<const std::int64_t> row_order_;
  std::int64_t rows_;
  std::int64_t header_bytes_;
  std::int64_t bytes_;
  uint8_t* out_;
};

}  // namespace

std::vector<DType> panel_types_for(const QuantizedMatrix& source) {
  switch (source.values()) {
    case QuantizedValues::kE4M3:
      return {DType::kF8Block, DType::kI8Zero};
    case QuantizedValues::kE2M1:
      return {DType::kMXFP4};
    case QuantizedValues::kInteger:
      break;
  }
  if (source.bits() == 8) return {DType::kQ8_0, DType::kI8Zero};
  if (source.has_zeros()) return {DType::kQ4_0, DType::kI4Zero, DType::kI8Zero};
  return {DType::kQ4_0, DType::kI8Zero};
}

DType likely_panel_type(const QuantizedMatrix& source, std::span<const std::int64_t> row_order) {
  const std::vector<DType> types = panel_types_for(source);
  for (const DType type : types) {
    if (type == types.back()) break;
    Buffer panel(static_cast<std::size_t>(panel_bytes(type, source.columns())));
    if (QuantizedPacking(source, type, row_order, panel.data()).pack(0, 1)) return type;
  }
  return types.back();
}

bool pack_panels(const QuantizedMatrix& source, DType type, std::span<const std::int64_t> row_order,
                 std::byte* out, ThreadPool& pool) {
  const QuantizedPacking packing(source, type, row_order, out);
  const std::int64_t panels = packing.panels();
  const std::int64_t fair = std::max<std::int64_t>(panels / (kPackJobsPerThread * pool.size()), 1);
  const std::int64_t at_once = source.lies_along_rows() ? std::min(kPanelsAtOnce, fair) : 1;
  std::atomic<bool> fits{true};
  pool.parallel_for(ceil_div(panels, at_once), [&](std::int64_t job, int) {
    if (!fits.load(std::memory_order_relaxed)) return;
    const std::int64_t begin = job * at_once;
    if (!packing.pack(begin, std::min(begin + at_once, panels))) fits.store(false);
  });
  return fits.load();
}

}  // namespace sampan
