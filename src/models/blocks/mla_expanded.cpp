#include "models/blocks/mla_expanded.h"

#include <algorithm>

#include "models/blocks/mla.h"

namespace sampan {
namespace {

// Positions whose keys and values are made at a time; a multiple of a page. Those of a head then
// stay in the second-level cache while the queries of a chunk pass by.
constexpr std::int64_t kPositions = 512;
// For how many heads: so that keys and values take no more than this.
constexpr std::int64_t kMostBytes = 16 << 20;

std::int64_t group_heads(const ModelConfig& c) {
  const std::int64_t head_bytes =
      kPositions * (c.head_dim + c.mla->value_dim) * static_cast<std::int64_t>(sizeof(float));
  return std::clamp<std::int64_t>(kMostBytes / head_bytes, 1, c.heads);
}

KvLayout piece_layout(const ModelConfig& c, std::int64_t heads) {
  return {heads, c.head_dim, DType::kF32, c.mla->value_dim};
}

// One run of expanded_attention().
class Expansion {
 public:
  Expansion(const MlaBlock& block, const ModelConfig& config, const LatentLayout& layout,
            ExpandedScratch& scratch, ThreadPool& pool)
      : block_(block), c_(config), mla_(*config.mla), layout_(layout), s_(scratch), pool_(pool) {}

  void run(const float* q, std::span<const AttentionQuery> queries, float* out) {
    const std::int64_t length = queries.back().position + 1;
    fit(queries, length);
    const std::int64_t most = group_heads(c_);
    for (std::int64_t begin = 0; begin < length; begin += kPositions) {
      const std::int64_t end = std::min(begin + kPositions, length);
      load(queries[0].pages, begin, end);
      // Positions ascend, so those that see this piece come last.
      std::int64_t first = 0;
      while (s_.queries[static_cast<std::size_t>(first)].position < begin) ++first;
      for (std::int64_t head = 0; head < c_.heads; head += most) {
        const std::int64_t heads = std::min(most, c_.heads - head);
        expand(head, heads, begin, end);
        attend(head, heads, begin, end, first, q, out);
      }
    }
  }

 private:
  void fit(std::span<const AttentionQuery> queries, std::int64_t length) {
    const std::int64_t heads = group_heads(c_);
    const auto bytes = static_cast<std::size_t>(piece_layout(c_, heads).page_bytes() *
                                                (kPositions / kKvPagePositions));
    if (s_.pages.size() < bytes) s_.pages = Buffer(bytes);
    s_.rows.resize(static_cast<std::size_t>(kPositions * layout_.row_dim()));
    s_.latent.resize(static_cast<std::size_t>(kPositions * mla_.kv_lora_rank));
    s_.keys.resize(static_cast<std::size_t>(kPositions * heads * c_.head_dim));
    s_.values.resize(static_cast<std::size_t>(kPositions * heads * mla_.value_dim));
    s_.m.resize(queries.size() * static_cast<std::size_t>(c_.heads));
    s_.l.resize(s_.m.size());
    s_.table.resize(static_cast<std::size_t>((length + kKvPagePositions - 1) / kKvPagePositions));
    s_.queries.assign(queries.begin(), queries.end());
    for (AttentionQuery& query : s_.queries) query.pages = s_.table.data();
    s_.tables.assign(static_cast<std::size_t>(kPositions), s_.table.data());
  }

  // The latents of positions [begin, end), as products read them.
  void load(const std::byte* const* pages, std::int64_t begin, std::int64_t end) {
    const std::int64_t width = layout_.row_dim();
    load_latent(layout_, pages, begin, end, s_.rows.data(), width, pool_);
    for (std::int64_t i = 0; i < end - begin; ++i) {
      std::copy_n(s_.rows.data() + i * width, mla_.kv_lora_rank,
                  s_.latent.data() + i * mla_.kv_lora_rank);
    }
    s_.activations.set(s_.latent.data(), end - begin, mla_.kv_lora_rank);
    s_.positions.clear();
    for (std::int64_t i = begin; i < end; ++i) {
      s_.positions.push_back(static_cast<std::int32_t>(i));
    }
  }

  // Keys and values of some heads for the positions loaded, into the pages.
  void expand(std::int64_t head, std::int64_t heads, std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    const std::int64_t key_stride = heads * c_.head_dim;
    const std::int64_t value_stride = heads * mla_.value_dim;
    s_.tasks.clear();
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto index = static_cast<std::size_t>(head + h);
      s_.tasks.push_back(
          {&block_.wuk_rows[index], 0, count, 0, s_.keys.data() + h * c_.head_dim, key_stride});
      s_.tasks.push_back(
          {&block_.wuv[index], 0, count, 0, s_.values.data() + h * mla_.value_dim, value_stride});
    }
    matmul_tasks(s_.tasks, s_.activations, pool_);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* const k_pe = s_.rows.data() + i * layout_.row_dim() + mla_.kv_lora_rank;
      float* const to = s_.keys.data() + i * key_stride + mla_.nope_dim;
      for (std::int64_t h = 0; h < heads; ++h) {
        std::copy_n(k_pe, mla_.rope_dim, to + h * c_.head_dim);
      }
    }
    const KvLayout pieces = piece_layout(c_, heads);
    for (std::int64_t page = begin / kKvPagePositions; page * kKvPagePositions < end; ++page) {
      s_.table[static_cast<std::size_t>(page)] =
          s_.pages.data() + (page - begin / kKvPagePositions) * pieces.page_bytes();
    }
    store_kv(pieces, s_.keys.data(), s_.values.data(), count, s_.positions.data(), s_.tables.data(),
             pool_);
  }

  // Takes the queries from `first` on by the positions [begin, end).
  void attend(std::int64_t head, std::int64_t heads, std::int64_t begin, std::int64_t end,
              std::int64_t first, const float* q, float* out) {
    AttentionArgs args;
    args.layout = piece_layout(c_, heads);
    args.heads = heads;
    args.scale = static_cast<float>(c_.attention_scale);
    const std::int64_t at = first * c_.heads + head;
    AttentionPiece piece;
    piece.first_page = begin / kKvPagePositions;
    piece.end_page = (end + kKvPagePositions - 1) / kKvPagePositions;
    piece.row_heads = c_.heads;
    piece.m = s_.m.data() + at;
    piece.l = s_.l.data() + at;
    attention_piece(args, piece, q + at * c_.head_dim,
                    std::span(s_.queries).subspan(static_cast<std::size_t>(first)),
                    out + at * mla_.value_dim, pool_);
  }

  const MlaBlock& block_;
  const ModelConfig& c_;
  const MlaConfig& mla_;
  const LatentLayout& layout_;
  ExpandedScratch& s_;
  ThreadPool& pool_;
};

}  // namespace

std::int64_t expanded_scratch_bytes(const ModelConfig& config) {
  const MlaConfig& mla = *config.mla;
  const std::int64_t of_heads = 2 * group_heads(config) * (config.head_dim + mla.value_dim);
  const std::int64_t of_latents = 2 * mla.kv_lora_rank + mla.rope_dim;
  return kPositions * (of_heads + of_latents) * static_cast<std::int64_t>(sizeof(float));
}

void expanded_attention(const MlaBlock& block, const ModelConfig& config,
                        const LatentLayout& layout, const float* q,
                        std::span<const AttentionQuery> queries, float* out,
                        ExpandedScratch& scratch, ThreadPool& pool) {
  Expansion(block, config, layout, scratch, pool).run(q, queries, out);
}

}  // namespace sampan
