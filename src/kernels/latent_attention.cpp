#include "kernels/latent_attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/attention_driver.h"
#include "kernels/attention_tiles.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = kKvPagePositions;
// Columns of the values that all rows of a tile take before the next ones: 64 positions of them
// stay in the first-level cache.
constexpr std::int64_t kColumns = 64;
// Elements of the cache that one call of a pool's loop copies.
constexpr std::int64_t kCopyElements = 32768;

void check(const LatentLayout& layout) {
  SAMPAN_CHECK(layout.dtype == DType::kF32 || layout.dtype == DType::kF16);
  SAMPAN_CHECK(layout.latent_dim >= 1 && layout.rope_dim >= 0);
}

// Pages laid out as LatentLayout says; T is how their numbers are stored.
template <typename T>
class LatentPages final : public PagedCache {
 public:
  LatentPages(const AttentionTable& table, const LatentLayout& layout)
      : table_(table), layout_(layout), width_(layout.width()) {}

  void score(const std::byte* page, const std::byte* next, std::int64_t /*group*/, const float* q,
             std::int64_t rows, std::int64_t first, std::int64_t end,
             float* scores) const override {
    const auto call = [&](auto entry) {
      entry(q, rows, width_, reinterpret_cast<const T*>(page), first / kDotPositions,
            (end + kDotPositions - 1) / kDotPositions, reinterpret_cast<const T*>(next), scores);
    };
    if constexpr (sizeof(T) == sizeof(float)) {
      call(table_.dot_f32);
    } else {
      call(table_.dot_f16);
    }
  }

  void accumulate(const std::byte* page, const std::byte* /*next*/, std::int64_t /*group*/,
                  const TileRows& rows) const override {
    const T* const values = reinterpret_cast<const T*>(page);
    for (std::int64_t d = 0; d < layout_.latent_dim; d += kColumns) {
      const ValueSum<T> sum = {
          .p = rows.p,
          .rows = rows.count,
          .values = values + d,
          .value_stride = width_,
          .columns = std::min(kColumns, layout_.latent_dim - d),
          .first = rows.first,
          .end = rows.end,
          .next = nullptr,
          .correction = rows.correction,
          .o = rows.o + d,
          .o_stride = layout_.latent_dim,
      };
      if constexpr (sizeof(T) == sizeof(float)) {
        table_.accumulate_f32(sum);
      } else {
        table_.accumulate_f16(sum);
      }
    }
  }

 private:
  const AttentionTable& table_;
  const LatentLayout& layout_;
  const std::int64_t width_;
};

template <typename T>
void store_row(const LatentLayout& layout, const float* from, T* to) {
  const std::int64_t size = layout.row_dim();
  if constexpr (sizeof(T) == sizeof(float)) {
    std::copy_n(from, size, to);
  } else {
    active_ops_table().narrow_f16(from, size, to);
  }
  std::fill(to + size, to + layout.width(), T{0});
}

template <typename T>
void load_row(const LatentLayout& layout, const T* from, float* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    std::copy_n(from, layout.row_dim(), to);
  } else {
    active_ops_table().widen_f16(from, layout.row_dim(), to);
  }
}

// Calls copy(index) for [0, count), in parallel when it is worth it.
template <typename Copy>
void for_rows(const LatentLayout& layout, std::int64_t count, ThreadPool& pool, const Copy& copy) {
  const std::int64_t least = std::max<std::int64_t>(1, kCopyElements / layout.width());
  const std::int64_t chunks = count / least;
  const auto run = [&](std::int64_t chunk, int) {
    for (std::int64_t i = count * chunk / chunks; i < count * (chunk + 1) / chunks; ++i) copy(i);
  };
  if (chunks > 1) return pool.parallel_for(chunks, run);
  for (std::int64_t i = 0; i < count; ++i) copy(i);
}

}  // namespace

std::int64_t LatentLayout::width() const { return (row_dim() + kLanes - 1) / kLanes * kLanes; }

std::int64_t LatentLayout::page_bytes() const {
  return kPage * width() * dtype_info(dtype).block_bytes;
}

void store_latent(const LatentLayout& layout, const float* rows, std::int64_t row_stride,
                  std::int64_t tokens, const std::int32_t* positions,
                  std::byte* const* const* pages, ThreadPool& pool) {
  check(layout);
  SAMPAN_CHECK(row_stride >= layout.row_dim());
  const std::int64_t row_bytes = layout.page_bytes() / kPage;
  for_rows(layout, tokens, pool, [&](std::int64_t t) {
    std::byte* const to = pages[t][positions[t] / kPage] + positions[t] % kPage * row_bytes;
    if (layout.dtype == DType::kF32) {
      store_row(layout, rows + t * row_stride, reinterpret_cast<float*>(to));
    } else {
      store_row(layout, rows + t * row_stride, reinterpret_cast<std::uint16_t*>(to));
    }
  });
}

void load_latent(const LatentLayout& layout, const std::byte* const* pages, std::int64_t begin,
                 std::int64_t end, float* rows, std::int64_t row_stride, ThreadPool& pool) {
  check(layout);
  SAMPAN_CHECK(begin >= 0 && row_stride >= layout.row_dim());
  const std::int64_t row_bytes = layout.page_bytes() / kPage;
  for_rows(layout, end - begin, pool, [&](std::int64_t i) {
    const std::byte* const from = pages[(begin + i) / kPage] + (begin + i) % kPage * row_bytes;
    if (layout.dtype == DType::kF32) {
      load_row(layout, reinterpret_cast<const float*>(from), rows + i * row_stride);
    } else {
      load_row(layout, reinterpret_cast<const std::uint16_t*>(from), rows + i * row_stride);
    }
  });
}

void latent_attention(const LatentAttentionArgs& args, const float* q,
                      std::span<const AttentionQuery> queries, float* out, ThreadPool& pool) {
  latent_attention_with(active_attention_table(), args, q, queries, out, pool);
}

void latent_attention_with(const AttentionTable& table, const LatentAttentionArgs& args,
                           const float* q, std::span<const AttentionQuery> queries, float* out,
                           ThreadPool& pool) {
  const LatentLayout& layout = args.layout;
  check(layout);
  SAMPAN_CHECK(args.heads >= 1);
  const auto run = [&](const PagedCache& cache) {
    const TiledAttention problem = {
        cache,      1, args.heads, layout.row_dim(), layout.width(), layout.latent_dim,
        args.scale, 0, nullptr};
    attend(table, problem, q, queries, out, pool);
  };
  if (layout.dtype == DType::kF32) {
    run(LatentPages<float>(table, layout));
  } else {
    run(LatentPages<std::uint16_t>(table, layout));
  }
}

}  // namespace sampan
