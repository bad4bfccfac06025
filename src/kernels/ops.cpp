#include "kernels/ops.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/isa_tables.h"
#include "kernels/math.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

// Elements that one call of a pool's loop should have at least: some microseconds of work, several
// times what handing it to another thread costs. Only speed depends on it.
constexpr std::int64_t kChunkElements = 16384;

// Calls body(begin, end) over [0, count) in chunks of whole units of `unit_elements` elements: on
// the caller alone when there is only one chunk.
template <typename Body>
void for_chunks(std::int64_t count, std::int64_t unit_elements, std::int64_t chunk_elements,
                ThreadPool& pool, const Body& body) {
  if (count <= 0) return;
  const std::int64_t least = std::max<std::int64_t>(1, chunk_elements / unit_elements);
  const std::int64_t chunks = std::clamp<std::int64_t>(count / least, 1, 4 * pool.size());
  if (chunks == 1 || pool.size() == 1) return body(std::int64_t{0}, count);
  pool.parallel_for(chunks, [&](std::int64_t chunk, int) {
    body(count * chunk / chunks, count * (chunk + 1) / chunks);
  });
}

void rotate(decltype(OpsTable::rope_half) rope, float* x, std::int64_t tokens, std::int64_t heads,
            std::int64_t head_dim, const float* cos_sin, std::int64_t half, ThreadPool& pool) {
  SAMPAN_CHECK(half >= 0 && 2 * half <= head_dim);
  const std::int64_t token_size = heads * head_dim;
  if (token_size <= 0) return;
  for_chunks(tokens, token_size, kChunkElements, pool, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* const cos = cos_sin + t * 2 * half;
      rope(x + t * token_size, heads, head_dim, cos, cos + half, half);
    }
  });
}

}  // namespace

const OpsTable& ops_table(Isa isa) { return isa_tables(isa).ops(); }

const OpsTable& active_ops_table() {
  static const OpsTable& table = ops_table(active_isa());
  return table;
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y, ThreadPool& pool) {
  SAMPAN_CHECK(dim >= 1);
  const OpsTable& ops = active_ops_table();
  for_chunks(rows, dim, kChunkElements, pool, [&](std::int64_t begin, std::int64_t end) {
    ops.rms_norm(x + begin * dim, weight, end - begin, dim, eps, y + begin * dim);
  });
}

void add_in_place(float* x, const float* y, std::int64_t n, ThreadPool& pool) {
  const OpsTable& ops = active_ops_table();
  for_chunks(n, 1, kChunkElements, pool, [&](std::int64_t begin, std::int64_t end) {
    ops.add(x + begin, y + begin, end - begin);
  });
}

void exp_in_place(float* x, std::int64_t n) { active_ops_table().exp(x, n, x); }

void rope_angles(const std::int32_t* positions, std::int64_t tokens, const float* inv_freq,
                 std::int64_t half, float magnitude, float* cos_sin) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* const cos_row = cos_sin + t * 2 * half;
    float* const sin_row = cos_row + half;
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(positions[t]) * inv_freq[i];
      double sin = 0, cos = 0;
      sincos_f64(angle, &sin, &cos);
      cos_row[i] = static_cast<float>(cos) * magnitude;
      sin_row[i] = static_cast<float>(sin) * magnitude;
    }
  }
}

void rope_half(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
               const float* cos_sin, std::int64_t half, ThreadPool& pool) {
  rotate(active_ops_table().rope_half, x, tokens, heads, head_dim, cos_sin, half, pool);
}

void rope_interleaved(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
                      const float* cos_sin, std::int64_t half, ThreadPool& pool) {
  rotate(active_ops_table().rope_interleaved, x, tokens, heads, head_dim, cos_sin, half, pool);
}

}  // namespace sampan
