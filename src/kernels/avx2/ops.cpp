#include "kernels/avx2/vector_math.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

// Up to eight floats: whole vectors are read and written plainly, the last by mask.
struct Whole {
  static __m256 load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* x, __m256 v) { _mm256_storeu_ps(x, v); }
};
struct Some {
  __m256i mask;
  __m256 load(const float* x) const { return _mm256_maskload_ps(x, mask); }
  void store(float* x, __m256 v) const { _mm256_maskstore_ps(x, mask, v); }
};

// Calls step(offset, access) for groups of 8 of [0, n); access is Some for a last, partial one.
template <typename Step>
inline void for_groups(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) step(i, Whole{});
  if (i < n) step(i, Some{first_lanes(n - i)});
}

void exp(const float* x, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, auto some) { some.store(y + i, exp_lanes(some.load(x + i))); });
}

float sum_of_squares(const float* x, std::int64_t dim) {
  __m256 low = _mm256_setzero_ps();
  __m256 high = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const __m256 a = _mm256_loadu_ps(x + i);
    const __m256 b = _mm256_loadu_ps(x + i + kVector);
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
  }
  for_groups(dim - i, [&](std::int64_t rest, auto some) {
    const __m256 v = some.load(x + i + rest);
    __m256& lanes = rest == 0 ? low : high;
    lanes = _mm256_fmadd_ps(v, v, lanes);
  });
  return fold_lanes(low, high);
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    const __m128 mean = _mm_set_ss(sum_of_squares(x, dim) / static_cast<float>(dim) + eps);
    const __m256 inv = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
    for_groups(dim, [=](std::int64_t i, auto some) {
      const __m256 v = _mm256_mul_ps(some.load(x + i), inv);
      some.store(y + i, _mm256_mul_ps(v, some.load(weight + i)));
    });
  }
}

void add(float* x, const float* y, std::int64_t n) {
  for_groups(n, [=](std::int64_t i, auto some) {
    some.store(x + i, _mm256_add_ps(some.load(x + i), some.load(y + i)));
  });
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for_groups(n, [=](std::int64_t i, auto some) {
    const __m256 g = some.load(gate + i);
    const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, exp_lanes(_mm256_xor_ps(g, sign))));
    some.store(y + i, _mm256_mul_ps(silu, some.load(up + i)));
  });
}

void rope_half(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
               const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for_groups(half, [=](std::int64_t i, auto some) {
      const __m256 a = some.load(x + i);
      const __m256 b = some.load(x + i + half);
      const __m256 c = some.load(cos + i);
      const __m256 s = some.load(sin + i);
      some.store(x + i, _mm256_fnmadd_ps(b, s, _mm256_mul_ps(a, c)));
      some.store(x + i + half, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    });
  }
}

__m128i to_halves(__m256 floats) {
  return _mm256_cvtps_ph(floats, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Four pairs a vector: both lanes of a pair meet the pair's cos, and its sin with the sign that the
// even lane needs.
void rope_interleaved(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                      const float* sin, std::int64_t half) {
  constexpr std::int64_t kPairs = kVector / 2;
  const __m256i pair = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  const __m256 even_sign = _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000));
  for (std::int64_t i = 0; i < half; i += kPairs) {
    const std::int64_t n = half - i < kPairs ? half - i : kPairs;
    const __m256 c = _mm256_permutevar8x32_ps(load_some(cos + i, n), pair);
    const __m256 s =
        _mm256_xor_ps(_mm256_permutevar8x32_ps(load_some(sin + i, n), pair), even_sign);
    const __m256i mask = first_lanes(2 * n);
    for (std::int64_t head = 0; head < heads; ++head) {
      float* const at = x + head * head_dim + 2 * i;
      const __m256 v = _mm256_maskload_ps(at, mask);
      const __m256 swapped = _mm256_permute_ps(v, 0xB1);
      _mm256_maskstore_ps(at, mask, _mm256_fmadd_ps(swapped, s, _mm256_mul_ps(v, c)));
    }
  }
}

void narrow_f16(const float* x, std::int64_t n, std::uint16_t* y) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), to_halves(_mm256_loadu_ps(x + i)));
  }
  if (i == n) return;
  alignas(16) std::uint16_t halves[kVector];
  _mm_store_si128(reinterpret_cast<__m128i*>(halves), to_halves(load_some(x + i, n - i)));
  for (std::int64_t j = 0; i + j < n; ++j) y[i + j] = halves[j];
}

void widen_f16(const std::uint16_t* x, std::int64_t n, float* y) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(halves));
  }
  if (i < n) _mm256_maskstore_ps(y + i, first_lanes(n - i), load_some(x + i, n - i));
}

constexpr OpsTable kTable = {exp,       rms_norm,         add,        silu_mul,
                             rope_half, rope_interleaved, narrow_f16, widen_f16};

}  // namespace

const OpsTable& ops_table_avx2() { return kTable; }

}  // namespace sampan
