#pragma once

#include <span>

#include "kernels/isa.h"

namespace sampan {

struct AttentionTable;
struct MatmulTable;
struct OpsTable;
struct PackTable;
struct PeakTable;

// An instruction set with what it provides for each contract.
struct IsaTables {
  Isa isa;
  bool (*supported)();  // by this machine and operating system
  const MatmulTable& (*matmul)();
  // As matmul without what only some of these machines have; the same where there is nothing such.
  const MatmulTable& (*matmul_base)();
  const OpsTable& (*ops)();
  const AttentionTable& (*attention)();
  const PackTable& (*pack)();
  const PeakTable& (*peaks)();
};

// Those of the processor that the program is built for besides the reference, in ascending order of
// preference. Each processor has its own file in kernels/processors/; kernels/CMakeLists.txt takes
// one.
std::span<const IsaTables> processor_tables();

// Those of an instruction set that isa_supported() (CHECK).
const IsaTables& isa_tables(Isa isa);

}  // namespace sampan
