#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/isa.h"
#include "kernels/quantized_activations.h"
#include "tensor/dtype.h"

namespace sampan {

class Activations;
class ThreadPool;
class WeightMatrix;
struct MatmulTask;

// What an instruction set provides for kernels/matmul.h. Plain data only: files compiled for an
// instruction set include this.

// Products of a strip of panels with a block of tokens. Writes y[t * y_stride + r] for t in [0,
// tokens), r in [0, rows).
struct PanelJob {
  const std::byte* panels;    // the first panel of the strip
  std::int64_t panel_bytes;   // from a panel to the next
  std::int64_t header_bytes;  // from a panel's start to its codes
  std::int64_t tiles;         // along the columns, a panel
  std::int64_t rows;          // outputs, from the first panel's first row on
  const std::byte* x;         // the first token's blocks (ActivationBlock32 or 256)
  std::int64_t x_stride;      // bytes from a token to the next
  std::int64_t tokens;
  float* y;
  std::int64_t y_stride;  // floats
  std::byte* scratch;     // kJobScratchBytes of this thread's own, 64-byte aligned
};
using PanelKernel = void (*)(const PanelJob& job);

// Products of rows of plain floats (F32, F16, BF16) with a block of tokens. x is float, for
// bf16_pairs BF16.
struct FloatJob {
  const std::byte* w;     // the first row; no alignment promised
  std::int64_t w_stride;  // bytes
  std::int64_t rows;
  std::int64_t columns;
  const std::byte* x;
  std::int64_t x_stride;  // bytes
  std::int64_t tokens;
  float* y;
  std::int64_t y_stride;  // floats
  std::byte* scratch;     // kJobScratchBytes of this thread's own, 64-byte aligned
};
using FloatKernel = void (*)(const FloatJob& job);

// Many tokens with rows of plain floats, from activations in the order of the virtual lanes: word k
// of a token lies at x + (k % 16) * lane_stride + k / 16. A word is what a lane takes at once: a
// column, or for bf16_pair_lanes two, as they lie in memory.
struct LaneJob {
  const std::byte* w;     // the first row; no alignment promised
  std::int64_t w_stride;  // bytes
  std::int64_t rows;
  std::int64_t words;  // of a row
  const float* x;
  std::int64_t x_stride;     // floats, from a token to the next
  std::int64_t lane_stride;  // floats
  std::int64_t tokens;       // kManyTokens … kLaneJobTokens
  float* y;
  std::int64_t y_stride;  // floats
  std::byte* scratch;     // kJobScratchBytes of this thread's own, 64-byte aligned
};
using LaneKernel = void (*)(const LaneJob& job);

// From so many tokens on a product of plain floats takes the lane kernel, where there is one.
inline constexpr std::int64_t kManyTokens = 20;
inline constexpr std::int64_t kManyPairTokens = 96;  // by bf16_pair_lanes
// Tokens for which a lane kernel turns its weights; it reads them one after the other, so that they
// may lie in any cache. Rows that it takes best at a time where they are long.
inline constexpr std::int64_t kLaneJobTokens = 256;
inline constexpr std::int64_t kWideLaneUnitRows = 64;
inline constexpr std::int64_t kWideLaneWords = 2048;  // more are long

// Turns one row of x into the order of the lanes; what lies beyond the words is left alone.
using OrderLanesKernel = void (*)(const float* x, std::int64_t words, std::int64_t lane_stride,
                                  float* out);

// One row of activations: `blocks` blocks of 32 or 256 from x to out (ActivationBlock32 or 256).
using QuantizeKernel = void (*)(const float* x, std::int64_t blocks, std::byte* out);

struct MatmulTable {
  const char* name;                 // isa_name() of its instruction set
  PanelKernel panels[kDTypeCount];  // block types, else nullptr
  FloatKernel floats[kDTypeCount];  // F32, F16, BF16, else nullptr
  FloatKernel bf16_pairs;           // BF16 weights with BF16 activations
  QuantizeKernel quantize32;
  QuantizeKernel quantize256;
  QuantizeKernel narrow_bf16;  // to BF16, nearest even; a block is a number
  // Both or neither; the same bits as `floats`.
  LaneKernel lanes[kDTypeCount];
  OrderLanesKernel order_lanes;
  LaneKernel bf16_pair_lanes;   // the same bits as bf16_pairs; nullptr where it is not faster
  std::int64_t lane_unit_rows;  // that a lane kernel takes best at a time, where they are short
  int strip_panels;             // panels that a kernel takes best at a time
};

// What one job may have at most: tokens, rows of plain floats. Bytes of scratch that it gets.
inline constexpr std::int64_t kMaxJobTokens = 512;
inline constexpr std::int64_t kMaxJobFloatRows = 512;
inline constexpr std::int64_t kJobScratchBytes = 1296 << 10;

// Float kernels take at most so many tokens at a time: room for the lanes of all rows of a job is
// then in the scratch.
inline constexpr std::int64_t kMaxFloatTileTokens = 8;
static_assert(kMaxJobFloatRows * kMaxFloatTileTokens * 16 * sizeof(float) <= kJobScratchBytes);

const MatmulTable& matmul_table_reference();
const MatmulTable& matmul_table_avx2();
const MatmulTable& matmul_table_avxvnni();
const MatmulTable& matmul_table_avx512();
const MatmulTable& matmul_table_neon();
const MatmulTable& matmul_table_i8mm();
// As above without what only some of these machines have (AVX512_BF16).
const MatmulTable& matmul_table_avx512_base();

// The table of an instruction set that this machine supports (CHECK).
const MatmulTable& matmul_table(Isa isa);
// The table of active_isa().
const MatmulTable& active_matmul_table();

// matmul() of kernels/matmul.h with a given table; the form of x that w needs must be there
// (Activations::require; floats where w has a column order).
void matmul_with_table(const MatmulTable& table, const WeightMatrix& w, const Activations& x,
                       float* y, std::int64_t y_stride, ThreadPool& pool);
void matmul_tasks_with_table(const MatmulTable& table, std::span<const MatmulTask> tasks,
                             const Activations& x, ThreadPool& pool);

}  // namespace sampan
