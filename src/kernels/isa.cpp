#include "kernels/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace sampan {
namespace {

constexpr Isa kAll[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512};

Isa choose() {
  const char* forced = std::getenv("SAMPAN_ISA");
  if (forced == nullptr || *forced == '\0') {
    Isa best = Isa::kReference;
    for (const Isa isa : kAll) {
      if (isa_supported(isa)) best = isa;
    }
    return best;
  }
  for (const Isa isa : kAll) {
    if (isa_name(isa) != forced) continue;
    if (!isa_supported(isa)) {
      fail(ErrorCode::kInvalidArgument, "SAMPAN_ISA={}: this machine does not have it", forced);
    }
    return isa;
  }
  fail(ErrorCode::kInvalidArgument, "SAMPAN_ISA={}: not one of reference, avx2, avx512", printable(forced));
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  return "unknown";
}

#if defined(__x86_64__)
namespace {

// clang 14's __builtin_cpu_supports does not know the name.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace
#endif

bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    has_f16c();
  switch (isa) {
    case Isa::kReference: return true;
    case Isa::kAvx2: return avx2;
    case Isa::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  }
  return false;
#else
  return isa == Isa::kReference;
#endif
}

bool has_bf16_products() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return isa_supported(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace sampan
