#pragma once

#include <string_view>

namespace sampan {

// Instruction sets with a kernel table of their own. All give the same bits.
enum class Isa { kReference, kAvx2, kAvxVnni, kAvx512, kNeon, kI8mm };
inline constexpr Isa kAllIsas[] = {Isa::kReference, Isa::kAvx2, Isa::kAvxVnni,
                                   Isa::kAvx512,    Isa::kNeon, Isa::kI8mm};

std::string_view isa_name(Isa isa);

// True when the program has the table and this machine and operating system can run it: avx2 needs
// AVX2, FMA and F16C; avxvnni needs AVX-VNNI (256 bits) besides; avx512 needs, besides what avx2
// does, F, BW, VL, DQ, VNNI and VBMI; neon (AArch64) needs DotProd, i8mm I8MM besides.
bool isa_supported(Isa isa);

// Whether the machine has AVX512_BF16 (vdpbf16ps). The avx512 table does without it as well.
bool has_bf16_products();

// The one that runs: the best supported, or what SAMPAN_ISA (reference, avx2, avxvnni, avx512,
// neon, i8mm) says. Chosen at the first call. Throws Error kInvalidArgument when SAMPAN_ISA is
// unknown or names one that the machine lacks.
Isa active_isa();

}  // namespace sampan
