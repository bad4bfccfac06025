#include "kernels/isa_tables.h"

namespace sampan {

std::span<const IsaTables> processor_tables() { return {}; }

bool has_bf16_products() { return false; }

}  // namespace sampan
