#include "kernels/attention_tiles.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/lanes.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

// Rows (query, head) of a tile. More rows share one reading of the cache; the tile's queries and
// outputs should stay in the second-level cache. A multiple of the vector kernels' 3, 4 and 6 rows.
constexpr std::int64_t kMaxTileRows = 48;
// Where threads would be idle, queries are spread over them down to so many rows a tile.
constexpr std::int64_t kLeastSharedRows = 12;
// Multiply-adds below which the caller does the work alone.
constexpr std::int64_t kLeastParallelWork = 1 << 18;

// A run of queries of one sequence at consecutive positions, and some heads of each group.
struct Tile {
  std::int64_t query = 0;
  std::int64_t queries = 0;
  std::int64_t head = 0;  // first of `heads` heads in each group
  std::int64_t heads = 0;
  std::int64_t end_position = 0;

  std::int64_t rows() const { return queries * heads; }
};

// Floats that one tile works on; kept by each thread from call to call.
struct Scratch {
  Buffer q;  // (rows, q_width)
  Buffer o;  // (rows, o_dims)
  Buffer p;  // (rows, kPage): scores, then weights

  void fit(std::int64_t rows, const TiledAttention& problem) {
    grow(q, rows * problem.q_width);
    grow(o, rows * problem.o_dims);
    grow(p, rows * kPage);
  }

 private:
  static void grow(Buffer& buffer, std::int64_t floats) {
    const std::size_t bytes = static_cast<std::size_t>(floats) * sizeof(float);
    if (buffer.size() < bytes) buffer = Buffer(bytes);
  }
};

Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

// Runs one tile against one group. Positions ascend in the tile: its first row sees the first
// position of all, its last row the last one.
class TileRun {
 public:
  TileRun(const AttentionTable& table, const TiledAttention& problem, const Tile& tile,
          std::int64_t group, const AttentionQuery* queries)
      : table_(table),
        problem_(problem),
        tile_(tile),
        group_(group),
        queries_(queries + tile.query),
        scratch_(thread_scratch()) {
    scratch_.fit(tile.rows(), problem);
  }

  void run(const float* q, float* out) {
    gather(q);
    std::int64_t page = first_visible(0) / kPage;
    end_page_ = queries_[tile_.queries - 1].position / kPage + 1;
    if (const AttentionPiece* piece = problem_.piece) {
      if (piece->first_page > 0) resume(out);
      page = piece->first_page;
      end_page_ = std::min(end_page_, piece->end_page);
    }
    for (; page < end_page_; ++page) reduce_page(page);
    scatter(out);
  }

 private:
  std::int64_t first_visible(std::int64_t query) const {
    const std::int64_t position = queries_[query].position;
    return problem_.window > 0 ? std::max<std::int64_t>(0, position - problem_.window + 1) : 0;
  }

  // Index among all (query, head) of the tile's first head of one of its queries.
  std::int64_t first_head(std::int64_t query) const {
    return (tile_.query + query) * problem_.row_heads() + group_ * problem_.group_heads +
           tile_.head;
  }

  void gather(const float* q) {
    for (std::int64_t row = 0; row < tile_.rows(); ++row) {
      const std::int64_t head = first_head(row / tile_.heads) + row % tile_.heads;
      float* const to = q_row(row);
      std::copy_n(q + head * problem_.q_dims, problem_.q_dims, to);
      std::fill(to + problem_.q_dims, to + problem_.q_width, 0.0f);
    }
    std::fill_n(o_row(0), tile_.rows() * problem_.o_dims, 0.0f);
    std::fill_n(m_, tile_.rows(), -std::numeric_limits<float>::infinity());
    std::fill_n(l_, tile_.rows(), 0.0f);
  }

  void scatter(float* out) {
    for (std::int64_t i = 0; i < tile_.queries; ++i) {
      const std::int64_t row = i * tile_.heads;
      const std::int64_t head = first_head(i);
      float* const to = out + head * problem_.o_dims;
      if (queries_[i].position / kPage < end_page_) {
        table_.divide(o_row(row), l_ + row, tile_.heads, problem_.o_dims, to);
        continue;
      }
      std::copy_n(o_row(row), tile_.heads * problem_.o_dims, to);
      std::copy_n(m_ + row, tile_.heads, problem_.piece->m + head);
      std::copy_n(l_ + row, tile_.heads, problem_.piece->l + head);
    }
  }

  // Goes on from what scatter() left at the end of the piece before.
  void resume(const float* out) {
    for (std::int64_t i = 0; i < tile_.queries; ++i) {
      const std::int64_t row = i * tile_.heads;
      const std::int64_t head = first_head(i);
      std::copy_n(out + head * problem_.o_dims, tile_.heads * problem_.o_dims, o_row(row));
      std::copy_n(problem_.piece->m + head, tile_.heads, m_ + row);
      std::copy_n(problem_.piece->l + head, tile_.heads, l_ + row);
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
    const std::int64_t row = begin * tile_.heads;
    const std::int64_t rows = (end - begin) * tile_.heads;
    page_ = queries_[0].pages[page];
    const bool goes_on = start + kPage <= queries_[end - 1].position && page + 1 < end_page_;
    next_ = goes_on ? queries_[0].pages[page + 1] : nullptr;
    problem_.cache.score(page_, next_, group_, q_row(row), rows, first_[row], end_[row + rows - 1],
                         p_row(row));
    table_.softmax(p_row(row), rows, problem_.scale, first_ + row, end_ + row, m_ + row, l_ + row,
                   correction_ + row);
    accumulate_page(row, rows);
  }

  // The positions that all rows see go in one call; those at either end that only some see go query
  // by query, before and after it.
  void accumulate_page(std::int64_t row, std::int64_t rows) {
    const std::int64_t end_row = row + rows;
    const std::int32_t shared_first = first_[end_row - 1];
    const std::int32_t shared_end = end_[row];
    if (shared_first >= shared_end) {
      for (std::int64_t r = row; r < end_row; r += tile_.heads) {
        accumulate(r, tile_.heads, first_[r], end_[r]);
      }
      return;
    }
    for (std::int64_t r = row; r < end_row && first_[r] < shared_first; r += tile_.heads) {
      accumulate(r, tile_.heads, first_[r], shared_first);
      std::fill_n(correction_ + r, tile_.heads, 1.0f);
    }
    accumulate(row, rows, shared_first, shared_end, next_);
    for (std::int64_t r = row; r < end_row; r += tile_.heads) {
      if (end_[r] == shared_end) continue;
      std::fill_n(correction_ + r, tile_.heads, 1.0f);
      accumulate(r, tile_.heads, shared_end, end_[r]);
    }
  }

  void accumulate(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t end,
                  const std::byte* next = nullptr) {
    problem_.cache.accumulate(page_, next, group_,
                              {p_row(row), rows, first, end, correction_ + row, o_row(row)});
  }

  float* q_row(std::int64_t row) { return scratch_.q.as<float>() + row * problem_.q_width; }
  float* o_row(std::int64_t row) { return scratch_.o.as<float>() + row * problem_.o_dims; }
  float* p_row(std::int64_t row) { return scratch_.p.as<float>() + row * kPage; }

  const AttentionTable& table_;
  const TiledAttention& problem_;
  const Tile& tile_;
  const std::int64_t group_;
  const AttentionQuery* const queries_;
  Scratch& scratch_;
  const std::byte* page_ = nullptr;
  const std::byte* next_ = nullptr;
  std::int64_t end_page_ = 0;  // of those that are read
  std::int32_t first_[kMaxTileRows];
  std::int32_t end_[kMaxTileRows];
  float m_[kMaxTileRows];
  float l_[kMaxTileRows];
  float correction_[kMaxTileRows];
};

// Cuts the queries into runs of at most `most` of one sequence at consecutive positions, and each
// group's heads into parts of at most `heads`.
std::vector<Tile> make_tiles(std::span<const AttentionQuery> queries, std::int64_t group_heads,
                             std::int64_t most, std::int64_t heads) {
  std::vector<Tile> tiles;
  const auto count = static_cast<std::int64_t>(queries.size());
  for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
    const AttentionQuery& head = queries[static_cast<std::size_t>(begin)];
    for (end = begin + 1; end < count && end - begin < most; ++end) {
      const AttentionQuery& next = queries[static_cast<std::size_t>(end)];
      if (next.pages != head.pages || next.position != head.position + (end - begin)) break;
    }
    for (std::int64_t first = 0; first < group_heads; first += heads) {
      tiles.push_back({begin, end - begin, first, std::min(heads, group_heads - first),
                       head.position + (end - begin)});
    }
  }
  return tiles;
}

// How many heads of a group a tile best has so that `threads` threads end early with `runs` (tiles
// of whole groups).
std::int64_t best_heads(std::span<const Tile> runs, std::int64_t groups, std::int64_t group_heads,
                        std::int64_t most_heads, int threads) {
  // What a tile costs beside its rows, in rows: it walks through the cache like every other.
  constexpr double kTileCost = 2;
  double longest = 0;
  double total = 0;
  for (const Tile& run : runs) {
    longest = std::max(longest, static_cast<double>(run.end_position));
    total += static_cast<double>(run.end_position);
  }
  const double mean = total / static_cast<double>(runs.size());
  const auto items = static_cast<std::int64_t>(runs.size()) * groups;
  std::int64_t best = most_heads;
  double best_cost = std::numeric_limits<double>::infinity();
  for (std::int64_t heads = most_heads; heads >= 1; --heads) {
    const std::int64_t parts = ceil_div(group_heads, heads);
    const std::int64_t rounds = ceil_div(items * parts, threads);
    const double rows = static_cast<double>(heads * runs[0].queries) + kTileCost;
    const double cost = rows * std::max(longest, static_cast<double>(rounds) * mean);
    if (cost >= best_cost) continue;
    best = heads;
    best_cost = cost;
  }
  return best;
}

// Tiles as high as leaves every thread some.
std::vector<Tile> plan(std::span<const AttentionQuery> queries, std::int64_t groups,
                       std::int64_t group_heads, int threads) {
  const auto per_tile = [&](std::int64_t rows) {
    return std::max<std::int64_t>(1, rows / group_heads);
  };
  const std::int64_t most_heads = std::min(group_heads, kMaxTileRows);
  std::int64_t rows = kMaxTileRows;
  std::vector<Tile> tiles = make_tiles(queries, group_heads, per_tile(rows), most_heads);
  const auto few = [&] { return static_cast<std::int64_t>(tiles.size()) * groups < 3 * threads; };
  while (threads > 1 && few() && rows > kLeastSharedRows && per_tile(rows) > 1) {
    rows /= 2;
    tiles = make_tiles(queries, group_heads, per_tile(rows), most_heads);
  }
  if (threads > 1 && few()) {
    const std::vector<Tile> runs = make_tiles(queries, group_heads, per_tile(rows), group_heads);
    const std::int64_t heads = best_heads(runs, groups, group_heads, most_heads, threads);
    tiles = make_tiles(queries, group_heads, per_tile(rows), heads);
  }
  // What sees most goes first, so that threads end together.
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const Tile& a, const Tile& b) { return a.end_position > b.end_position; });
  return tiles;
}

std::int64_t multiply_adds(const TiledAttention& problem, std::span<const AttentionQuery> queries) {
  const std::int64_t start = problem.piece ? problem.piece->first_page * kPage : 0;
  const std::int64_t most = problem.piece ? problem.piece->end_page * kPage - start
                                          : std::numeric_limits<std::int64_t>::max();
  std::int64_t visible = 0;
  for (const AttentionQuery& query : queries) {
    SAMPAN_CHECK(query.position >= start && query.pages != nullptr);
    const std::int64_t all = std::min(query.position + 1 - start, most);
    visible += problem.window > 0 ? std::min(all, problem.window) : all;
  }
  return visible * problem.groups * problem.group_heads * (problem.q_dims + problem.o_dims);
}

}  // namespace

void attend(const AttentionTable& table, const TiledAttention& problem, const float* q,
            std::span<const AttentionQuery> queries, float* out, ThreadPool& pool) {
  const bool parallel = multiply_adds(problem, queries) >= kLeastParallelWork;
  const std::vector<Tile> tiles =
      plan(queries, problem.groups, problem.group_heads, parallel ? pool.size() : 1);
  const auto run_item = [&](std::int64_t item, int) {
    const Tile& tile = tiles[static_cast<std::size_t>(item / problem.groups)];
    TileRun(table, problem, tile, item % problem.groups, queries.data()).run(q, out);
  };
  const std::int64_t items = static_cast<std::int64_t>(tiles.size()) * problem.groups;
  if (parallel) return pool.parallel_for(items, run_item);
  for (std::int64_t item = 0; item < items; ++item) run_item(item, 0);
}

}  // namespace sampan
