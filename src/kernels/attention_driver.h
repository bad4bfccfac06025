#pragma once

#include <span>

#include "kernels/attention.h"
#include "kernels/attention_table.h"

namespace sampan {

// attention() with given tables: what attention() calls with the active ones, and tests with
// others.
void attention_with(const AttentionTable& table, const AttentionArgs& args, const float* q,
                    std::span<const AttentionQuery> queries, float* out, ThreadPool& pool);

}  // namespace sampan
