#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace sampan {

// Row-wise operations of a transformer on float rows. Each has one order of float operations
// (explicit fma only), so that all instruction sets give the same bits (of numbers; which NaN a NaN
// result is may differ). Rows are independent and large work is split over the pool; results do not
// depend on it. Arrays overlap only where it says so.

// y = x / sqrt(mean(x²) + eps) * weight, row by row: sum of squares over 16 virtual lanes
// (kernels/lanes.h) by fma, then inv = 1 / sqrt(sum / dim + eps), y[i] = (x[i] * inv) * weight[i].
// x, y (rows, dim), y may be x; weight (dim). Any dim >= 1.
// Zhang & Sennrich 2019; transformers' Qwen3RMSNorm.
void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y, ThreadPool& pool);

// x += y over n elements.
void add_in_place(float* x, const float* y, std::int64_t n, ThreadPool& pool);

// x[i] = exp_f32(x[i]) (kernels/math.h), on the calling thread.
void exp_in_place(float* x, std::int64_t n);

// Angles of rotary embeddings: cos_sin (tokens, 2, half): row t holds cos then sin of
// float(positions[t]) * inv_freq[i] (a float product, as transformers computes it). cos and sin of
// the float angle are computed in double (sincos_f64; angles below 2^30), rounded to float, then
// multiplied by magnitude in float.
void rope_angles(const std::int32_t* positions, std::int64_t tokens, const float* inv_freq,
                 std::int64_t half, float magnitude, float* cos_sin);

// Half-rotated (NeoX) rotary embedding in place: x (tokens, heads, head_dim); the first 2 * half
// dims of each head rotate, pairs (i, i + half): a = x[i], b = x[i + half]; x[i] = fma(-b, sin, a *
// cos), x[i + half] = fma(a, sin, b * cos). cos_sin (tokens, 2, half) from rope_angles.
void rope_half(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
               const float* cos_sin, std::int64_t half, ThreadPool& pool);

// Interleaved (GPT-J) rotary embedding in place: x (tokens, heads, head_dim); the first 2 * half
// dims of each head rotate, pairs (2i, 2i + 1): a = x[2i], b = x[2i + 1]; x[2i] = fma(-b, sin, a *
// cos), x[2i + 1] = fma(a, sin, b * cos). head_dim is a stride only: to rotate the last 64 dims of
// heads of 192, pass x + 128 with head_dim 192. cos_sin (tokens, 2, half) from rope_angles.
void rope_interleaved(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
                      const float* cos_sin, std::int64_t half, ThreadPool& pool);

}  // namespace sampan
