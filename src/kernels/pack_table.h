#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/isa.h"
#include "tensor/dtype.h"

namespace sampan {

class ThreadPool;
struct PackTask;

// What an instruction set provides for pack_panels() of kernels/panels.h: the same bytes in every
// table. Plain data only: files compiled for an instruction set include this.

// The tiles of one panel, all of them.
struct PackJob {
  const std::byte* rows[16];  // the first block of each row; no alignment promised
  int count;                  // rows that are there; only the reference takes fewer than 16
  std::int64_t tiles;
  std::byte* header;  // of the first tile: the panel's start, 64-byte aligned
  std::byte* codes;   // of the first tile, 64-byte aligned
};
// Writes headers and codes of the rows, nothing else: padding behind the headers and rows that are
// not there keep what they hold.
using PackKernel = void (*)(const PackJob& job);

struct PackTable {
  const char* name;                 // isa_name() of its instruction set
  PackKernel kernels[kDTypeCount];  // the block types of GGUF, else nullptr
};

const PackTable& pack_table_reference();
const PackTable& pack_table_avx2();
const PackTable& pack_table_avx512();
const PackTable& pack_table_neon();

// The table of an instruction set that this machine supports (CHECK).
const PackTable& pack_table(Isa isa);

// pack_panels() of kernels/panels.h with a given table.
void pack_panels_with_table(const PackTable& table, std::span<const PackTask> tasks,
                            ThreadPool& pool);

}  // namespace sampan
