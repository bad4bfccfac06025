#include "kernels/attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/attention_driver.h"
#include "kernels/isa.h"
#include "kernels/lanes.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = kKvPagePositions;

// Rows (query, head) of a tile. More rows share one reading of the cache; the tile's queries and
// outputs should stay in the second-level cache. A multiple of the vector kernels' 6 rows.
constexpr std::int64_t kMaxTileRows = 48;
// Multiply-adds below which the caller does the work alone.
constexpr std::int64_t kLeastParallelWork = 1 << 18;

// A run of queries of one sequence at consecutive positions, and some heads of one kv head's group.
struct Tile {
  std::int64_t query = 0;
  std::int64_t queries = 0;
  std::int64_t head = 0;  // first of `heads` heads in each group
  std::int64_t heads = 0;

  std::int64_t rows() const { return queries * heads; }
};

// Floats that one tile works on; kept by each thread from call to call.
struct Scratch {
  std::vector<float> q;  // (rows, head_dim)
  std::vector<float> o;  // (rows, head_dim)
  std::vector<float> p;  // (rows, kPage): scores, then weights

  void fit(std::int64_t rows, std::int64_t head_dim) {
    const auto size = static_cast<std::size_t>(rows * head_dim);
    if (q.size() < size) q.resize(size);
    if (o.size() < size) o.resize(size);
    if (p.size() < static_cast<std::size_t>(rows * kPage)) {
      p.resize(static_cast<std::size_t>(rows * kPage));
    }
  }
};

Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

// One kv head's part of a page.
struct PagePart {
  const std::byte* keys;
  const std::byte* values;
};

PagePart page_part(const KvLayout& layout, const std::byte* page, std::int64_t kv_head) {
  const std::int64_t half_bytes = layout.page_bytes() / 2;
  const std::byte* const keys = page + half_bytes / layout.kv_heads * kv_head;
  return {keys, keys + half_bytes};
}

// Runs one tile against one kv head. Positions ascend in the tile: its first row sees the first
// position of all, its last row the last one.
class TileRun {
 public:
  TileRun(const AttentionTable& table, const AttentionArgs& args, const Tile& tile,
          std::int64_t kv_head, const AttentionQuery* queries)
      : table_(table),
        args_(args),
        tile_(tile),
        kv_head_(kv_head),
        head_dim_(args.layout.head_dim),
        queries_(queries + tile.query),
        first_head_(kv_head * (args.heads / args.layout.kv_heads) + tile.head),
        scratch_(thread_scratch()) {
    scratch_.fit(tile.rows(), head_dim_);
  }

  void run(const float* q, float* out) {
    gather(q);
    const std::int64_t first_page = first_visible(0) / kPage;
    const std::int64_t last_page = queries_[tile_.queries - 1].position / kPage;
    for (std::int64_t page = first_page; page <= last_page; ++page) reduce_page(page);
    scatter(out);
  }

 private:
  std::int64_t first_visible(std::int64_t query) const {
    const std::int64_t position = queries_[query].position;
    return args_.window > 0 ? std::max<std::int64_t>(0, position - args_.window + 1) : 0;
  }

  // Offset of the tile's first head of one of its queries in q and out.
  std::int64_t offset(std::int64_t query) const {
    return ((tile_.query + query) * args_.heads + first_head_) * head_dim_;
  }

  void gather(const float* q) {
    const std::int64_t size = tile_.heads * head_dim_;
    for (std::int64_t i = 0; i < tile_.queries; ++i) {
      std::copy_n(q + offset(i), size, scratch_.q.data() + i * size);
    }
    std::fill_n(scratch_.o.data(), tile_.rows() * head_dim_, 0.0f);
    std::fill_n(m_, tile_.rows(), -std::numeric_limits<float>::infinity());
    std::fill_n(l_, tile_.rows(), 0.0f);
  }

  void scatter(float* out) const {
    for (std::int64_t i = 0; i < tile_.queries; ++i) {
      const std::int64_t row = i * tile_.heads;
      table_.divide(scratch_.o.data() + row * head_dim_, l_ + row, tile_.heads, head_dim_,
                    out + offset(i));
    }
  }

  // Takes the queries that see a position of the page one page on.
  void reduce_page(std::int64_t page) {
    const std::int64_t start = page * kPage;
    std::int64_t begin = 0;
    std::int64_t end = tile_.queries;
    while (begin < end && queries_[begin].position < start) ++begin;
    while (begin < end && first_visible(end - 1) >= start + kPage) --end;
    if (begin == end) return;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto first = static_cast<std::int32_t>(std::max(first_visible(i), start) - start);
      const auto stop = static_cast<std::int32_t>(
          std::min<std::int64_t>(queries_[i].position + 1, start + kPage) - start);
      std::fill_n(first_ + i * tile_.heads, tile_.heads, first);
      std::fill_n(end_ + i * tile_.heads, tile_.heads, stop);
    }
    const PagePart part = page_part(args_.layout, queries_[0].pages[page], kv_head_);
    const std::int64_t row = begin * tile_.heads;
    const std::int64_t rows = (end - begin) * tile_.heads;
    score(part, row, rows);
    table_.softmax(p(row), rows, args_.scale, first_ + row, end_ + row, m_ + row, l_ + row,
                   correction_ + row);
    const std::byte* const next_keys =
        start + kPage <= queries_[end - 1].position
            ? page_part(args_.layout, queries_[0].pages[page + 1], kv_head_).keys
            : nullptr;
    accumulate_page(part, next_keys, row, rows);
  }

  void score(const PagePart& part, std::int64_t row, std::int64_t rows) {
    const std::int64_t begin = first_[row] / kLanes;
    const std::int64_t end = (end_[row + rows - 1] + kLanes - 1) / kLanes;
    const float* const q = scratch_.q.data() + row * head_dim_;
    if (args_.layout.dtype == DType::kF32) {
      table_.score_f32(q, rows, head_dim_, reinterpret_cast<const float*>(part.keys), begin, end,
                       reinterpret_cast<const float*>(part.values), p(row));
    } else {
      table_.score_f16(q, rows, head_dim_, reinterpret_cast<const std::uint16_t*>(part.keys), begin,
                       end, reinterpret_cast<const std::uint16_t*>(part.values), p(row));
    }
  }

  // The positions that all rows see go in one call; those at either end that only some see go query
  // by query, before and after it.
  void accumulate_page(const PagePart& part, const std::byte* next, std::int64_t row,
                       std::int64_t rows) {
    const std::int64_t end_row = row + rows;
    const std::int32_t shared_first = first_[end_row - 1];
    const std::int32_t shared_end = end_[row];
    if (shared_first >= shared_end) {
      for (std::int64_t r = row; r < end_row; r += tile_.heads) {
        accumulate(part, r, tile_.heads, first_[r], end_[r]);
      }
      return;
    }
    for (std::int64_t r = row; r < end_row && first_[r] < shared_first; r += tile_.heads) {
      accumulate(part, r, tile_.heads, first_[r], shared_first);
      std::fill_n(correction_ + r, tile_.heads, 1.0f);
    }
    accumulate(part, row, rows, shared_first, shared_end, next);
    for (std::int64_t r = row; r < end_row; r += tile_.heads) {
      if (end_[r] == shared_end) continue;
      std::fill_n(correction_ + r, tile_.heads, 1.0f);
      accumulate(part, r, tile_.heads, shared_end, end_[r]);
    }
  }

  void accumulate(const PagePart& part, std::int64_t row, std::int64_t rows, std::int64_t first,
                  std::int64_t end, const std::byte* next = nullptr) {
    float* const o = scratch_.o.data() + row * head_dim_;
    if (args_.layout.dtype == DType::kF32) {
      table_.accumulate_f32(p(row), rows, reinterpret_cast<const float*>(part.values), head_dim_,
                            first, end, reinterpret_cast<const float*>(next), correction_ + row, o);
    } else {
      table_.accumulate_f16(p(row), rows, reinterpret_cast<const std::uint16_t*>(part.values),
                            head_dim_, first, end, reinterpret_cast<const std::uint16_t*>(next),
                            correction_ + row, o);
    }
  }

  float* p(std::int64_t row) { return scratch_.p.data() + row * kPage; }

  const AttentionTable& table_;
  const AttentionArgs& args_;
  const Tile& tile_;
  const std::int64_t kv_head_;
  const std::int64_t head_dim_;
  const AttentionQuery* const queries_;
  const std::int64_t first_head_;
  Scratch& scratch_;
  std::int32_t first_[kMaxTileRows];
  std::int32_t end_[kMaxTileRows];
  float m_[kMaxTileRows];
  float l_[kMaxTileRows];
  float correction_[kMaxTileRows];
};

// Cuts the queries into runs of one sequence at consecutive positions, the runs and the groups of
// heads into tiles of at most `rows` rows.
std::vector<Tile> make_tiles(std::span<const AttentionQuery> queries, std::int64_t group,
                             std::int64_t rows) {
  std::vector<Tile> tiles;
  const std::int64_t heads = std::min(group, rows);
  const std::int64_t most = std::max<std::int64_t>(1, rows / group);
  const auto count = static_cast<std::int64_t>(queries.size());
  for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
    const AttentionQuery& head = queries[static_cast<std::size_t>(begin)];
    for (end = begin + 1; end < count && end - begin < most; ++end) {
      const AttentionQuery& next = queries[static_cast<std::size_t>(end)];
      if (next.pages != head.pages || next.position != head.position + (end - begin)) break;
    }
    for (std::int64_t first = 0; first < group; first += heads) {
      tiles.push_back({begin, end - begin, first, std::min(heads, group - first)});
    }
  }
  return tiles;
}

// Tiles as high as leaves every thread some.
std::vector<Tile> plan(std::span<const AttentionQuery> queries, std::int64_t group,
                       std::int64_t kv_heads, int threads) {
  for (std::int64_t rows = kMaxTileRows;; rows /= 2) {
    std::vector<Tile> tiles = make_tiles(queries, group, rows);
    const auto items = static_cast<std::int64_t>(tiles.size()) * kv_heads;
    if (threads == 1 || items >= 3 * threads || rows <= std::max<std::int64_t>(12, group)) {
      return tiles;
    }
  }
}

std::int64_t multiply_adds(const AttentionArgs& args, std::span<const AttentionQuery> queries) {
  std::int64_t visible = 0;
  for (const AttentionQuery& query : queries) {
    SAMPAN_CHECK(query.position >= 0 && query.pages != nullptr);
    const std::int64_t all = std::int64_t{query.position} + 1;
    visible += args.window > 0 ? std::min(all, args.window) : all;
  }
  return 2 * visible * args.heads * args.layout.head_dim;
}

// Keys and values of the tokens [begin, end) of one kv head.
template <typename T>
void store_head(const KvLayout& layout, const float* k, const float* v, std::int64_t begin,
                std::int64_t end, std::int64_t kv_head, const std::int32_t* positions,
                std::byte* const* const* pages) {
  const std::int64_t head_dim = layout.head_dim;
  std::vector<T> key(static_cast<std::size_t>(head_dim));
  for (std::int64_t t = begin; t < end; ++t) {
    const PagePart part = page_part(layout, pages[t][positions[t] / kPage], kv_head);
    const std::int64_t slot = positions[t] % kPage;
    T* const keys = reinterpret_cast<T*>(const_cast<std::byte*>(part.keys)) +
                    slot / kLanes * head_dim * kLanes + slot % kLanes;
    T* const values = reinterpret_cast<T*>(const_cast<std::byte*>(part.values)) + slot * head_dim;
    const std::int64_t source = (t * layout.kv_heads + kv_head) * head_dim;
    if constexpr (sizeof(T) == sizeof(float)) {
      std::copy_n(v + source, head_dim, values);
      for (std::int64_t d = 0; d < head_dim; ++d) keys[d * kLanes] = k[source + d];
    } else {
      active_ops_table().narrow_f16(v + source, head_dim, values);
      active_ops_table().narrow_f16(k + source, head_dim, key.data());
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
  return 2 * kv_heads * kPage * head_dim * dtype_info(dtype).block_bytes;
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
  attention_with(active_attention_table(), args, q, queries, out, pool);
}

void attention_with(const AttentionTable& table, const AttentionArgs& args, const float* q,
                    std::span<const AttentionQuery> queries, float* out, ThreadPool& pool) {
  const KvLayout& layout = args.layout;
  SAMPAN_CHECK(layout.dtype == DType::kF32 || layout.dtype == DType::kF16);
  SAMPAN_CHECK(layout.kv_heads >= 1 && layout.head_dim >= 1 && args.window >= 0);
  SAMPAN_CHECK(args.heads >= 1 && args.heads % layout.kv_heads == 0);
  const bool parallel = multiply_adds(args, queries) >= kLeastParallelWork;
  const std::vector<Tile> tiles =
      plan(queries, args.heads / layout.kv_heads, layout.kv_heads, parallel ? pool.size() : 1);
  const auto count = static_cast<std::int64_t>(tiles.size());
  // Later tiles of a prompt see more: they go first, so that threads end together.
  const auto run_item = [&](std::int64_t item, int) {
    const Tile& tile = tiles[static_cast<std::size_t>(count - 1 - item % count)];
    TileRun(table, args, tile, item / count, queries.data()).run(q, out);
  };
  const std::int64_t items = count * layout.kv_heads;
  if (parallel) return pool.parallel_for(items, run_item);
  for (std::int64_t item = 0; item < items; ++item) run_item(item, 0);
}

}  // namespace sampan
