#include "kernels/attention.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/attention_driver.h"
#include "kernels/attention_tiles.h"
#include "kernels/isa.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = kKvPagePositions;

// One kv head's part of a page.
struct PagePart {
  const std::byte* keys;
  const std::byte* values;
};

// Bytes of one kv head's vectors of `width` in a page.
std::int64_t part_bytes(const KvLayout& layout, std::int64_t width) {
  return kPage * width * dtype_info(layout.dtype).block_bytes;
}

PagePart page_part(const KvLayout& layout, const std::byte* page, std::int64_t kv_head) {
  const std::int64_t key_bytes = part_bytes(layout, layout.head_dim);
  return {page + key_bytes * kv_head,
          page + key_bytes * layout.kv_heads + part_bytes(layout, layout.value_width()) * kv_head};
}

// Pages laid out as KvLayout says; T is how their numbers are stored.
template <typename T>
class KvCachePages final : public PagedCache {
 public:
  KvCachePages(const AttentionTable& table, const KvLayout& layout)
      : table_(table), layout_(layout) {}

  void score(const std::byte* page, const std::byte* /*next*/, std::int64_t group, const float* q,
             std::int64_t rows, std::int64_t first, std::int64_t end,
             float* scores) const override {
    const PagePart part = page_part(layout_, page, group);
    const auto* const values = reinterpret_cast<const T*>(part.values);
    const auto call = [&](auto entry) {
      entry(q, rows, layout_.head_dim, reinterpret_cast<const T*>(part.keys), first / kLanes,
            (end + kLanes - 1) / kLanes, is_even() ? values : nullptr, scores);
    };
    if constexpr (sizeof(T) == sizeof(float)) {
      call(table_.score_f32);
    } else {
      call(table_.score_f16);
    }
  }

  void accumulate(const std::byte* page, const std::byte* next, std::int64_t group,
                  const TileRows& rows) const override {
    const std::int64_t value_dim = layout_.value_width();
    const PagePart part = page_part(layout_, page, group);
    const std::byte* const next_keys =
        next == nullptr || !is_even() ? nullptr : page_part(layout_, next, group).keys;
    const ValueSum<T> sum = {
        .p = rows.p,
        .rows = rows.count,
        .values = reinterpret_cast<const T*>(part.values),
        .value_stride = value_dim,
        .columns = value_dim,
        .first = rows.first,
        .end = rows.end,
        .next = reinterpret_cast<const T*>(next_keys),
        .correction = rows.correction,
        .o = rows.o,
        .o_stride = value_dim,
    };
    if constexpr (sizeof(T) == sizeof(float)) {
      table_.accumulate_f32(sum);
    } else {
      table_.accumulate_f16(sum);
    }
  }

 private:
  // Whether keys and values have the same offsets, by which one prefetches the other.
  bool is_even() const { return layout_.value_width() == layout_.head_dim; }

  const AttentionTable& table_;
  const KvLayout& layout_;
};

// Keys and values of the tokens [begin, end) of one kv head.
template <typename T>
void store_head(const KvLayout& layout, const float* k, const float* v, std::int64_t begin,
                std::int64_t end, std::int64_t kv_head, const std::int32_t* positions,
                std::byte* const* const* pages) {
  const std::int64_t head_dim = layout.head_dim;
  const std::int64_t value_dim = layout.value_width();
  std::vector<T> key(static_cast<std::size_t>(head_dim));
  for (std::int64_t t = begin; t < end; ++t) {
    const PagePart part = page_part(layout, pages[t][positions[t] / kPage], kv_head);
    const std::int64_t slot = positions[t] % kPage;
    T* const keys = reinterpret_cast<T*>(const_cast<std::byte*>(part.keys)) +
                    slot / kLanes * head_dim * kLanes + slot % kLanes;
    T* const values = reinterpret_cast<T*>(const_cast<std::byte*>(part.values)) + slot * value_dim;
    const std::int64_t row = t * layout.kv_heads + kv_head;
    const float* const key_from = k + row * head_dim;
    const float* const value_from = v + row * value_dim;
    if constexpr (sizeof(T) == sizeof(float)) {
      std::copy_n(value_from, value_dim, values);
      for (std::int64_t d = 0; d < head_dim; ++d) keys[d * kLanes] = key_from[d];
    } else {
      active_ops_table().narrow_f16(value_from, value_dim, values);
      active_ops_table().narrow_f16(key_from, head_dim, key.data());
      for (std::int64_t d = 0; d < head_dim; ++d) {
        keys[d * kLanes] = key[static_cast<std::size_t>(d)];
      }
    }
  }
}

}  // namespace

const AttentionTable& attention_table(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return attention_table_reference();
    case Isa::kAvx2:
      return attention_table_avx2();
    case Isa::kAvx512:
      return attention_table_avx512();
  }
  return attention_table_reference();
}

const AttentionTable& active_attention_table() {
  static const AttentionTable& table = attention_table(active_isa());
  return table;
}

std::int64_t KvLayout::page_bytes() const {
  return kv_heads * (part_bytes(*this, head_dim) + part_bytes(*this, value_width()));
}

void store_kv(const KvLayout& layout, const float* k, const float* v, std::int64_t tokens,
              const std::int32_t* positions, std::byte* const* const* pages, ThreadPool& pool) {
  SAMPAN_CHECK(layout.dtype == DType::kF32 || layout.dtype == DType::kF16);
  constexpr std::int64_t kTokens = 64;  // of one kv head: some 10 us of scattered writes
  const std::int64_t chunks = (tokens + kTokens - 1) / kTokens;
  const auto store = [&](std::int64_t item, int) {
    const std::int64_t begin = item % chunks * kTokens;
    const std::int64_t end = std::min(begin + kTokens, tokens);
    const auto call = layout.dtype == DType::kF32 ? store_head<float> : store_head<std::uint16_t>;
    call(layout, k, v, begin, end, item / chunks, positions, pages);
  };
  const std::int64_t items = chunks * layout.kv_heads;
  if (tokens * layout.kv_heads * layout.head_dim >= 16384) return pool.parallel_for(items, store);
  for (std::int64_t item = 0; item < items; ++item) store(item, 0);
}

void attention(const AttentionArgs& args, const float* q, std::span<const AttentionQuery> queries,
               float* out, ThreadPool& pool) {
  attention_with(active_attention_table(), args, nullptr, q, queries, out, pool);
}

void attention_piece(const AttentionArgs& args, const AttentionPiece& piece, const float* q,
                     std::span<const AttentionQuery> queries, float* out, ThreadPool& pool) {
  attention_with(active_attention_table(), args, &piece, q, queries, out, pool);
}

void attention_with(const AttentionTable& table, const AttentionArgs& args,
                    const AttentionPiece* piece, const float* q,
                    std::span<const AttentionQuery> queries, float* out, ThreadPool& pool) {
  const KvLayout& layout = args.layout;
  SAMPAN_CHECK(layout.dtype == DType::kF32 || layout.dtype == DType::kF16);
  SAMPAN_CHECK(layout.kv_heads >= 1 && layout.head_dim >= 1 && args.window >= 0);
  SAMPAN_CHECK(args.heads >= 1 && args.heads % layout.kv_heads == 0);
  SAMPAN_CHECK(piece == nullptr || (piece->first_page < piece->end_page && args.window == 0));
  const auto run = [&](const PagedCache& cache) {
    const TiledAttention problem = {cache,           layout.kv_heads, args.heads / layout.kv_heads,
                                    layout.head_dim, layout.head_dim, layout.value_width(),
                                    args.scale,      args.window,     piece};
    attend(table, problem, q, queries, out, pool);
  };
  if (layout.dtype == DType::kF32) {
    run(KvCachePages<float>(table, layout));
  } else {
    run(KvCachePages<std::uint16_t>(table, layout));
  }
}

}  // namespace sampan
