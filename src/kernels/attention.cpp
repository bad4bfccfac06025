#include "kernels/attention.h"

#include <algorithm>
#include <vector>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/attention_driver.h"
#include "kernels/attention_tiles.h"
#include "kernels/cache_codes.h"
#include "kernels/isa_tables.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

static_assert(kCodesPerScale == kCacheScaleColumns);

// Bytes of one kv head's vectors of `width` in a page.
std::int64_t part_bytes(const KvLayout& layout, std::int64_t width) {
  if (layout.dtype == DType::kQ8_0) return kPage * (width + 2 * cache_scales(width));
  return kPage * width * dtype_info(layout.dtype).block_bytes;
}

// Where a kv head's keys and values begin in a page.
std::int64_t keys_at(const KvLayout& layout, std::int64_t kv_head) {
  return part_bytes(layout, layout.head_dim) * kv_head;
}
std::int64_t values_at(const KvLayout& layout, std::int64_t kv_head) {
  return keys_at(layout, layout.kv_heads) + part_bytes(layout, layout.value_width()) * kv_head;
}

// The scales behind the codes of a part.
std::uint16_t* scales_of(std::byte* part, std::int64_t width) {
  return reinterpret_cast<std::uint16_t*>(part + kPage * width);
}
const std::uint16_t* scales_of(const std::byte* part, std::int64_t width) {
  return reinterpret_cast<const std::uint16_t*>(part + kPage * width);
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
    const std::int64_t head_dim = layout_.head_dim;
    const std::byte* const part = page + keys_at(layout_, group);
    const std::byte* const values = page + values_at(layout_, group);
    PageKeys<T> keys = {reinterpret_cast<const T*>(part),
                        is_even() ? reinterpret_cast<const T*>(values) : nullptr, nullptr, 0};
    if constexpr (is_coded<T>) {
      keys.scale_columns = cache_scales(head_dim);
      keys.scales = widen_cache_scales(scales_of(part, head_dim), keys.scale_columns * kPage);
    }
    score_entry(table_, T{})(q, rows, head_dim, keys, first / kLanes, ceil_div(end, kLanes),
                             scores);
  }

  void accumulate(const std::byte* page, const std::byte* next, std::int64_t group,
                  const TileRows& rows) const override {
    const std::int64_t value_dim = layout_.value_width();
    const std::byte* const part = page + values_at(layout_, group);
    const std::byte* const next_keys =
        next == nullptr || !is_even() ? nullptr : next + keys_at(layout_, group);
    ValueSum<T> sum = {
        .p = rows.p,
        .rows = rows.count,
        .values = reinterpret_cast<const T*>(part),
        .value_stride = value_dim,
        .scales = nullptr,
        .scale_stride = cache_scales(value_dim),
        .columns = value_dim,
        .first = rows.first,
        .end = rows.end,
        .next = reinterpret_cast<const T*>(next_keys),
        .correction = rows.correction,
        .o = rows.o,
        .o_stride = value_dim,
    };
    if constexpr (is_coded<T>) {
      sum.scales = widen_cache_scales(scales_of(part, value_dim), sum.scale_stride * kPage);
    }
    accumulate_entry(table_, T{})(sum);
  }

 private:
  // Whether keys and values have the same offsets, by which one prefetches the other.
  bool is_even() const { return layout_.value_width() == layout_.head_dim; }

  const AttentionTable& table_;
  const KvLayout& layout_;
};

// Where one position of a kv head lies in its page.
struct Place {
  std::byte* keys;  // of the head
  std::byte* values;
  std::int64_t slot;

  // The first of `width` numbers of a key, kLanes apart.
  template <typename T>
  T* key(std::int64_t width) const {
    return reinterpret_cast<T*>(keys) + slot / kLanes * width * kLanes + slot % kLanes;
  }
  template <typename T>
  T* value(std::int64_t width) const {
    return reinterpret_cast<T*>(values) + slot * width;
  }
};

template <typename T>
void spread(const std::vector<T>& from, T* to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i * kLanes] = from[i];
}

void store_position(const KvLayout& layout, const float* k, const float* v, const Place& place,
                    std::vector<float>& /*key*/) {
  std::copy_n(v, layout.value_width(), place.value<float>(layout.value_width()));
  float* const keys = place.key<float>(layout.head_dim);
  for (std::int64_t d = 0; d < layout.head_dim; ++d) keys[d * kLanes] = k[d];
}

void store_position(const KvLayout& layout, const float* k, const float* v, const Place& place,
                    std::vector<std::uint16_t>& key) {
  const std::int64_t value_dim = layout.value_width();
  active_ops_table().narrow_f16(v, value_dim, place.value<std::uint16_t>(value_dim));
  active_ops_table().narrow_f16(k, layout.head_dim, key.data());
  spread(key, place.key<std::uint16_t>(layout.head_dim));
}

void store_position(const KvLayout& layout, const float* k, const float* v, const Place& place,
                    std::vector<std::int8_t>& key) {
  const std::int64_t head_dim = layout.head_dim;
  const std::int64_t value_dim = layout.value_width();
  const std::int64_t value_scales = cache_scales(value_dim);
  encode_cache_row(v, value_dim, place.value<std::int8_t>(value_dim),
                   scales_of(place.values, value_dim) + place.slot * value_scales);
  std::vector<std::uint16_t> scales(static_cast<std::size_t>(cache_scales(head_dim)));
  encode_cache_row(k, head_dim, key.data(), scales.data());
  spread(key, place.key<std::int8_t>(head_dim));
  spread(scales,
         Place{reinterpret_cast<std::byte*>(scales_of(place.keys, head_dim)), nullptr, place.slot}
             .key<std::uint16_t>(cache_scales(head_dim)));
}

// Keys and values of the tokens [begin, end) of one kv head.
template <typename T>
void store_head(const KvLayout& layout, const float* k, const float* v, std::int64_t begin,
                std::int64_t end, std::int64_t kv_head, const std::int32_t* positions,
                std::byte* const* const* pages) {
  std::vector<T> key(static_cast<std::size_t>(layout.head_dim));
  for (std::int64_t t = begin; t < end; ++t) {
    std::byte* const page = pages[t][positions[t] / kPage];
    const Place place = {page + keys_at(layout, kv_head), page + values_at(layout, kv_head),
                         positions[t] % kPage};
    const std::int64_t row = t * layout.kv_heads + kv_head;
    store_position(layout, k + row * layout.head_dim, v + row * layout.value_width(), place, key);
  }
}

}  // namespace

const AttentionTable& attention_table(Isa isa) { return isa_tables(isa).attention(); }

const AttentionTable& active_attention_table() {
  static const AttentionTable& table = attention_table(active_isa());
  return table;
}

std::int64_t KvLayout::page_bytes() const {
  return kv_heads * (part_bytes(*this, head_dim) + part_bytes(*this, value_width()));
}

void store_kv(const KvLayout& layout, const float* k, const float* v, std::int64_t tokens,
              const std::int32_t* positions, std::byte* const* const* pages, ThreadPool& pool) {
  constexpr std::int64_t kTokens = 64;  // of one kv head: some 10 us of scattered writes
  const std::int64_t chunks = ceil_div(tokens, kTokens);
  const auto store = [&](std::int64_t item, int) {
    const std::int64_t begin = item % chunks * kTokens;
    const std::int64_t end = std::min(begin + kTokens, tokens);
    with_stored_type(layout.dtype, [&](auto type) {
      store_head<decltype(type)>(layout, k, v, begin, end, item / chunks, positions, pages);
    });
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
  SAMPAN_CHECK(layout.kv_heads >= 1 && layout.head_dim >= 1 && args.window >= 0);
  SAMPAN_CHECK(args.heads >= 1 && args.heads % layout.kv_heads == 0);
  SAMPAN_CHECK(piece == nullptr || (piece->first_page < piece->end_page && args.window == 0));
  with_stored_type(layout.dtype, [&](auto type) {
    const KvCachePages<decltype(type)> cache(table, layout);
    const TiledAttention problem = {cache,           layout.kv_heads, args.heads / layout.kv_heads,
                                    layout.head_dim, layout.head_dim, layout.value_width(),
                                    args.scale,      args.window,     piece};
    attend(table, problem, q, queries, out, pool);
  });
}

}  // namespace sampan
