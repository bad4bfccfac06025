#pragma once

namespace sampan {

// The fixed tree by which 16 virtual lanes become one sum: halves are added until one is left,
//   8: l[i] + l[i + 8];  4: l[i] + l[i + 4];  2: l[i] + l[i + 2];  1: l[0] + l[1].
// One zmm, two ymm or an array of 16 give the same bits.
inline constexpr int kLanes = 16;

}  // namespace sampan
