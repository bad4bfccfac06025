#pragma once

#include <cstdint>

namespace sampan {

enum class Isa;

// What kernels/ops.h is made of, single-threaded, one table an instruction set. Same meaning, same
// order of float operations, same bits in every table. Included by files compiled for an
// instruction set: declarations only.
struct OpsTable {
  // y[i] = exp_f32(x[i]); y may be x.
  void (*exp)(const float* x, std::int64_t n, float* y);
  // As in ops.h; y may be x.
  void (*rms_norm)(const float* x, const float* weight, std::int64_t rows, std::int64_t dim,
                   float eps, float* y);
  // x[i] += y[i].
  void (*add)(float* x, const float* y, std::int64_t n);
  // y[i] = silu(gate[i]) * up[i], silu(v) = v / (1 + exp(-v)) with exp_f32; y may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, std::int64_t n, float* y);
  // Rotates the heads of one token: x (heads, head_dim), cos and sin (half).
  void (*rope_half)(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                    const float* sin, std::int64_t half);
  void (*rope_interleaved)(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                           const float* sin, std::int64_t half);
  // y[i] = float_to_f16(x[i]).
  void (*narrow_f16)(const float* x, std::int64_t n, std::uint16_t* y);
  // y[i] = f16_to_float(x[i]).
  void (*widen_f16)(const std::uint16_t* x, std::int64_t n, float* y);
};

const OpsTable& ops_table_reference();
const OpsTable& ops_table_avx2();
const OpsTable& ops_table_avx512();
const OpsTable& ops_table_neon();

// The table of an instruction set that isa_supported().
const OpsTable& ops_table(Isa isa);
// The table of active_isa().
const OpsTable& active_ops_table();

}  // namespace sampan
