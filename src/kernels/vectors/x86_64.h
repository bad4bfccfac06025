#pragma once

#include <immintrin.h>

#include <cstdint>

// What the vectors.h of x86-64's instruction sets share, whatever their registers.
namespace sampan {
namespace {

enum class Bf16 : std::uint16_t {};

inline float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// The last steps of the tree of kernels/lanes.h, from 8 lanes on.
inline float fold_eight(__m256 eight) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// While one lives, subnormal operands and results are zero, or are not. The compiler does not know:
// sums that must not move in or out are in functions of their own.
class SubnormalMode {
 public:
  explicit SubnormalMode(bool are_zero) {
    constexpr unsigned kAreZero = 0x8040;
    _mm_setcsr(are_zero ? before_ | kAreZero : before_ & ~kAreZero);
  }
  ~SubnormalMode() { _mm_setcsr(before_); }
  SubnormalMode(const SubnormalMode&) = delete;
  SubnormalMode& operator=(const SubnormalMode&) = delete;

 private:
  const unsigned before_ = _mm_getcsr();
};

inline void prefetch(const void* x) { _mm_prefetch(static_cast<const char*>(x), _MM_HINT_T0); }

}  // namespace
}  // namespace sampan
