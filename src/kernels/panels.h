#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace sampan {

// How block types lie in memory for products: losslessly repacked, the same for every instruction
// set.
//
// A panel holds 16 rows; the rows of the last one are filled up with zeros. It is cut along the
// columns into tiles of 32 columns (32-wide blocks) or 256 (k-quants, IQ4_XS), and holds the
// headers of all its tiles (padded to 64 bytes), then the codes of all its tiles:
//
//   panel = [tiles][header_bytes], padding, [tiles][code_bytes]
//
// Codes. 32 columns are 8 column groups g of 4 columns j (column 4 g + j); a register of 64 bytes
// holds (row, j), so that one load serves 16 outputs and 4 columns whose activations are one
// broadcast of 4 bytes. A 256-wide tile is 8 of these in turn.
//   bytes          [8 g][16 rows][4 j], signed                   512 bytes
//   nibbles        [4 g][16][4], column group g low, g + 4 high  256 bytes
//   a fifth bit    after the nibbles [16][4], bit g              64 bytes (Q5)
//   two bits       [2][16][4], bits 2 (g % 4), vector g / 4      128 bytes (Q2_K; Q3_K and Q6_K)
//   a third bit    after the two bits [16][4], bit g             64 bytes (Q3_K)
//
// Headers, f16 unless said, each [16 rows] (sub-scales and sub-minima in pairs of sub-blocks:
// [pair][16 rows][2]):
//   Q4_0 Q5_0 Q8_0 IQ4_NL  d
//   Q4_1 Q5_1              d, m
//   MXFP4                  e8m0 byte
//   Q4_K Q5_K              d, dmin, u8 sub-scales (4 pairs), u8 sub-minima (4 pairs)
//   Q2_K                   d, dmin, u8 sub-scale | sub-minimum << 4 (8 pairs)
//   Q3_K Q6_K              d, i8 sub-scales (8 pairs)
//   IQ4_XS                 d, i8 sub-scales (4 pairs)
//
// Panels of weights that were published in other forms (kernels/quantized_panels.h):
//   I4Z  d, u8 zero; nibbles    value = d * (code - zero)
//   I8Z  f32 d, u8 zero; bytes  value = d * (byte + 128 - zero)
//   F8B  u8 e, one f32 scale of the whole tile; bytes  value = scale * 2^(e - 127) * byte, the
//        product of scale and power rounded to float, 0 for e = 0
inline constexpr int kPanelRows = 16;

struct PanelFormat {
  int tile_columns;  // 0: not a block type
  int header_bytes;  // a tile
  int code_bytes;    // a tile
};

// Indexed by DType.
inline constexpr PanelFormat kPanelFormats[kDTypeCount] = {
    {},
    {},
    {},
    {},  // F32 F16 BF16 F64
    {},
    {},
    {},
    {},
    {},
    {},
    {},
    {},
    {},  // integers
    {},
    {},
    {},                   // 8-bit floats
    {32, 32, 256},        // Q4_0
    {32, 64, 256},        // Q4_1
    {32, 32, 320},        // Q5_0
    {32, 64, 320},        // Q5_1
    {32, 32, 512},        // Q8_0
    {256, 320, 8 * 128},  // Q2_K
    {256, 288, 8 * 192},  // Q3_K
    {256, 320, 8 * 256},  // Q4_K
    {256, 320, 8 * 320},  // Q5_K
    {256, 288, 8 * 384},  // Q6_K
    {32, 32, 256},        // IQ4_NL
    {256, 160, 8 * 256},  // IQ4_XS
    {32, 16, 256},        // MXFP4
    {32, 48, 256},        // I4Z
    {32, 80, 512},        // I8Z
    {32, 20, 512},        // F8B
};

const PanelFormat& panel_format(DType dtype);

// Bytes of all headers of a panel, padding included; where its codes start.
std::int64_t panel_header_bytes(DType dtype, std::int64_t columns);
std::int64_t panel_bytes(DType dtype, std::int64_t columns);

// A matrix to be packed.
struct PackTask {
  TensorView source;  // (rows, columns) of a block type
  // Empty: rows as they lie; else output row i is source row row_order[i] (each within the source:
  // CHECK), and there are row_order.size() of them.
  std::span<const std::int64_t> row_order;
  // ceil(rows / 16) times panel_bytes(), 64-byte aligned; written whole.
  std::byte* out;
};

// Packs matrices into panels, all threads busy until the last is done: give many small ones at
// once. Rows of sources that lie in mapped files are asked of the system shortly before.
void pack_panels(std::span<const PackTask> tasks, ThreadPool& pool);

}  // namespace sampan
