#include "kernels/latent_attention.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/attention_driver.h"
#include "kernels/attention_tiles.h"
#include "kernels/cache_codes.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

// Columns of the values that all rows of a tile take before the next ones: 64 positions of them
// stay in the first-level cache.
constexpr std::int64_t kColumns = 64;
// Elements of the cache that one call of a pool's loop copies.
constexpr std::int64_t kCopyElements = 32768;

void check(const LatentLayout& layout) {
  SAMPAN_CHECK(layout.dtype == DType::kF32 || layout.dtype == DType::kF16 ||
               layout.dtype == DType::kQ8_0);
  SAMPAN_CHECK(layout.latent_dim >= 1 && layout.rope_dim >= 0);
}

// The scales behind the codes of a page.
std::uint16_t* scales_of(const LatentLayout& layout, std::byte* page) {
  return reinterpret_cast<std::uint16_t*>(page + kPage * layout.width());
}
const std::uint16_t* scales_of(const LatentLayout& layout, const std::byte* page) {
  return reinterpret_cast<const std::uint16_t*>(page + kPage * layout.width());
}

// Pages laid out as LatentLayout says; T is how their numbers are stored.
template <typename T>
class LatentPages final : public PagedCache {
 public:
  LatentPages(const AttentionTable& table, const LatentLayout& layout)
      : table_(table),
        layout_(layout),
        width_(layout.width()),
        scale_columns_(cache_scales(width_)) {}

  void score(const std::byte* page, const std::byte* next, std::int64_t /*group*/, const float* q,
             std::int64_t rows, std::int64_t first, std::int64_t end,
             float* scores) const override {
    const PageKeys<T> keys = {reinterpret_cast<const T*>(page), reinterpret_cast<const T*>(next),
                              scales(page), scale_columns_};
    dot_entry(table_, T{})(q, rows, width_, keys, first / kDotPositions,
                           ceil_div(end, kDotPositions), scores);
  }

  void accumulate(const std::byte* page, const std::byte* /*next*/, std::int64_t /*group*/,
                  const TileRows& rows) const override {
    const T* const values = reinterpret_cast<const T*>(page);
    const float* const value_scales = scales(page);
    for (std::int64_t d = 0; d < layout_.latent_dim; d += kColumns) {
      accumulate_entry(table_, T{})({
          .p = rows.p,
          .rows = rows.count,
          .values = values + d,
          .value_stride = width_,
          .scales = is_coded<T> ? value_scales + d / kCacheScaleColumns : nullptr,
          .scale_stride = scale_columns_,
          .columns = std::min(kColumns, layout_.latent_dim - d),
          .first = rows.first,
          .end = rows.end,
          .next = nullptr,
          .correction = rows.correction,
          .o = rows.o + d,
          .o_stride = layout_.latent_dim,
      });
    }
  }

 private:
  const float* scales(const std::byte* page) const {
    if constexpr (!is_coded<T>) return nullptr;
    return widen_cache_scales(scales_of(layout_, page), scale_columns_ * kPage);
  }

  const AttentionTable& table_;
  const LatentLayout& layout_;
  const std::int64_t width_;
  const std::int64_t scale_columns_;
};

// A row of the cache: its numbers, and its scales where these are codes.
template <typename T>
T* row_of(const LatentLayout& layout, std::byte* page, std::int64_t slot) {
  return reinterpret_cast<T*>(page) + slot * layout.width();
}
template <typename T>
const T* row_of(const LatentLayout& layout, const std::byte* page, std::int64_t slot) {
  return reinterpret_cast<const T*>(page) + slot * layout.width();
}

void store_row(const LatentLayout& layout, const float* from, std::byte* page, std::int64_t slot) {
  const std::int64_t size = layout.row_dim();
  const std::int64_t width = layout.width();
  const auto store = [&](auto* to, const auto& convert) {
    convert(to);
    std::fill(to + size, to + width, 0);
  };
  switch (layout.dtype) {
    case DType::kF32:
      return store(row_of<float>(layout, page, slot),
                   [&](float* to) { std::copy_n(from, size, to); });
    case DType::kF16:
      return store(row_of<std::uint16_t>(layout, page, slot),
                   [&](std::uint16_t* to) { active_ops_table().narrow_f16(from, size, to); });
    default:
      return store(row_of<std::int8_t>(layout, page, slot), [&](std::int8_t* to) {
        std::uint16_t* const scales = scales_of(layout, page) + slot * cache_scales(width);
        encode_cache_row(from, size, to, scales);
      });
  }
}

void load_row(const LatentLayout& layout, const std::byte* page, std::int64_t slot, float* to) {
  const std::int64_t size = layout.row_dim();
  switch (layout.dtype) {
    case DType::kF32:
      std::copy_n(row_of<float>(layout, page, slot), size, to);
      return;
    case DType::kF16:
      return active_ops_table().widen_f16(row_of<std::uint16_t>(layout, page, slot), size, to);
    default:
      return decode_cache_row(row_of<std::int8_t>(layout, page, slot),
                              scales_of(layout, page) + slot * cache_scales(layout.width()), size,
                              to);
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

std::int64_t LatentLayout::width() const { return ceil_div(row_dim(), kLanes) * kLanes; }

std::int64_t LatentLayout::page_bytes() const {
  if (dtype == DType::kQ8_0) return kPage * (width() + 2 * cache_scales(width()));
  return kPage * width() * dtype_info(dtype).block_bytes;
}

void store_latent(const LatentLayout& layout, const float* rows, std::int64_t row_stride,
                  std::int64_t tokens, const std::int32_t* positions,
                  std::byte* const* const* pages, ThreadPool& pool) {
  check(layout);
  SAMPAN_CHECK(row_stride >= layout.row_dim());
  for_rows(layout, tokens, pool, [&](std::int64_t t) {
    store_row(layout, rows + t * row_stride, pages[t][positions[t] / kPage], positions[t] % kPage);
  });
}

void load_latent(const LatentLayout& layout, const std::byte* const* pages, std::int64_t begin,
                 std::int64_t end, float* rows, std::int64_t row_stride, ThreadPool& pool) {
  check(layout);
  SAMPAN_CHECK(begin >= 0 && row_stride >= layout.row_dim());
  for_rows(layout, end - begin, pool, [&](std::int64_t i) {
    load_row(layout, pages[(begin + i) / kPage], (begin + i) % kPage, rows + i * row_stride);
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
  with_stored_type(layout.dtype, [&](auto type) {
    const LatentPages<decltype(type)> cache(table, layout);
    const TiledAttention problem = {
        cache,      1, args.heads, layout.row_dim(), layout.width(), layout.latent_dim,
        args.scale, 0, nullptr};
    attend(table, problem, q, queries, out, pool);
  });
}

}  // namespace sampan
