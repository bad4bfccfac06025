#include "kernels/avx512/vector_math.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

// Calls step(offset, mask) for groups of 16 of [0, n); the mask has all 16 lanes but at the end.
template <typename Step>
inline void for_groups(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(i, first_lanes(kLanes));
  if (i < n) step(i, first_lanes(n - i));
}

void exp(const float* x, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, __mmask16 mask) {
    _mm512_mask_storeu_ps(y + i, mask, exp_lanes(_mm512_maskz_loadu_ps(mask, x + i)));
  });
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    __m512 lanes = _mm512_setzero_ps();
    for_groups(dim, [&](std::int64_t i, __mmask16 mask) {
      const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
      lanes = _mm512_fmadd_ps(v, v, lanes);
    });
    const __m128 mean = _mm_set_ss(fold_lanes(lanes) / static_cast<float>(dim) + eps);
    const __m512 inv = _mm512_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
    for_groups(dim, [=](std::int64_t i, __mmask16 mask) {
      const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inv);
      _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, weight + i)));
    });
  }
}

void add(float* x, const float* y, std::int64_t n) {
  for_groups(n, [=](std::int64_t i, __mmask16 mask) {
    const __m512 sum =
        _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, y + i));
    _mm512_mask_storeu_ps(x + i, mask, sum);
  });
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 sign = _mm512_set1_ps(-0.0f);
  for_groups(n, [=](std::int64_t i, __mmask16 mask) {
    const __m512 g = _mm512_maskz_loadu_ps(mask, gate + i);
    const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, exp_lanes(_mm512_xor_ps(g, sign))));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(mask, up + i)));
  });
}

void rope_half(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
               const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for_groups(half, [=](std::int64_t i, __mmask16 mask) {
      const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
      const __m512 b = _mm512_maskz_loadu_ps(mask, x + i + half);
      const __m512 c = _mm512_maskz_loadu_ps(mask, cos + i);
      const __m512 s = _mm512_maskz_loadu_ps(mask, sin + i);
      _mm512_mask_storeu_ps(x + i, mask, _mm512_fnmadd_ps(b, s, _mm512_mul_ps(a, c)));
      _mm512_mask_storeu_ps(x + i + half, mask, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
    });
  }
}

// Eight pairs a vector: both lanes of a pair meet the pair's cos, and its sin with the sign that
// the even lane needs.
void rope_interleaved(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                      const float* sin, std::int64_t half) {
  constexpr std::int64_t kPairs = kLanes / 2;
  const __m512i pair = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  const __m512 even_sign = _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000));
  for (std::int64_t i = 0; i < half; i += kPairs) {
    const std::int64_t n = half - i < kPairs ? half - i : kPairs;
    const __mmask16 mask = first_lanes(2 * n);
    const __m512 c = _mm512_permutexvar_ps(pair, _mm512_maskz_loadu_ps(first_lanes(n), cos + i));
    const __m512 s = _mm512_xor_ps(
        _mm512_permutexvar_ps(pair, _mm512_maskz_loadu_ps(first_lanes(n), sin + i)), even_sign);
    for (std::int64_t head = 0; head < heads; ++head) {
      float* const at = x + head * head_dim + 2 * i;
      const __m512 v = _mm512_maskz_loadu_ps(mask, at);
      const __m512 swapped = _mm512_permute_ps(v, 0xB1);
      _mm512_mask_storeu_ps(at, mask, _mm512_fmadd_ps(swapped, s, _mm512_mul_ps(v, c)));
    }
  }
}

void narrow_f16(const float* x, std::int64_t n, std::uint16_t* y) {
  for_groups(n, [=](std::int64_t i, __mmask16 mask) {
    const __m512 floats = _mm512_maskz_loadu_ps(mask, x + i);
    const __m256i halves = _mm512_cvtps_ph(floats, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(y + i, mask, halves);
  });
}

void widen_f16(const std::uint16_t* x, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, __mmask16 mask) {
    _mm512_mask_storeu_ps(y + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x + i)));
  });
}

constexpr OpsTable kTable = {exp,       rms_norm,         add,        silu_mul,
                             rope_half, rope_interleaved, narrow_f16, widen_f16};

}  // namespace

const OpsTable& ops_table_avx512() { return kTable; }

}  // namespace sampan
