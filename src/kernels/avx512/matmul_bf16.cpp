// Compiled for AVX512_BF16 as well; entered only where the machine has it.
#include "kernels/avx512/matmul_entries.h"
#include "kernels/avx512/vectors.h"
#include "kernels/vectors/float_lanes.h"
#include "kernels/vectors/float_tiles.h"

namespace sampan {
namespace {

// The processor's own products of pairs, which take no notice of its mode for subnormal numbers.
struct ProcessorPairs {
  static constexpr int kTileRows = 4;
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 1;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  static constexpr bool kSubnormalsAreZero = false;
  template <int kPart>
  static __m512i load_w(const std::byte* p) {
    return _mm512_loadu_si512(p);
  }
  template <int kPart>
  static __m512i load_x(const std::byte* p) {
    return _mm512_loadu_si512(p);
  }
  static __m512 multiply_add(__m512i x, __m512i w, __m512 lanes) {
    return _mm512_dpbf16_ps(lanes, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};

// Words of two columns.
struct ProcessorPairWords {
  static Floats multiply_add(Floats x, Floats w, Floats sum) {
    return ProcessorPairs::multiply_add(_mm512_castps_si512(x), _mm512_castps_si512(w), sum);
  }
};

}  // namespace

void add_bf16_entries_avx512(MatmulTable& table) {
  table.bf16_pairs = multiply_floats<ProcessorPairs>;
  table.bf16_pair_lanes = multiply_lanes<ProcessorPairWords, float>;
}

}  // namespace sampan
