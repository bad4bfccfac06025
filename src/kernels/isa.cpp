#include "kernels/isa.h"

#include <cstdlib>

#include "base/error.h"
#include "kernels/attention_table.h"
#include "kernels/isa_tables.h"
#include "kernels/matmul_table.h"
#include "kernels/ops_table.h"
#include "kernels/pack_table.h"
#include "kernels/peaks.h"

namespace sampan {
namespace {

constexpr IsaTables kReferenceTables = {.isa = Isa::kReference,
                                        .supported = [] { return true; },
                                        .matmul = matmul_table_reference,
                                        .matmul_base = matmul_table_reference,
                                        .ops = ops_table_reference,
                                        .attention = attention_table_reference,
                                        .pack = pack_table_reference,
                                        .peaks = peak_table_reference};

const IsaTables* find_supported(Isa isa) {
  if (isa == Isa::kReference) return &kReferenceTables;
  for (const IsaTables& tables : processor_tables()) {
    if (tables.isa == isa) return tables.supported() ? &tables : nullptr;
  }
  return nullptr;
}

Isa best_supported() {
  Isa best = Isa::kReference;
  for (const IsaTables& tables : processor_tables()) {
    if (tables.supported()) best = tables.isa;
  }
  return best;
}

Isa choose() {
  const char* forced = std::getenv("SAMPAN_ISA");
  if (forced == nullptr || *forced == '\0') return best_supported();
  for (const Isa isa : kAllIsas) {
    if (isa_name(isa) != forced) continue;
    if (!isa_supported(isa)) {
      fail(ErrorCode::kInvalidArgument, "SAMPAN_ISA={}: this machine does not have it", forced);
    }
    return isa;
  }
  fail(ErrorCode::kInvalidArgument, "SAMPAN_ISA={}: not one of reference, avx2, avxvnni, avx512, neon, i8mm", printable(forced));
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvxVnni: return "avxvnni";
    case Isa::kAvx512: return "avx512";
    case Isa::kNeon: return "neon";
    case Isa::kI8mm: return "i8mm";
  }
  return "unknown";
}

bool isa_supported(Isa isa) { return find_supported(isa) != nullptr; }

const IsaTables& isa_tables(Isa isa) {
  const IsaTables* const tables = find_supported(isa);
  SAMPAN_CHECK(tables != nullptr);
  return *tables;
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace sampan
