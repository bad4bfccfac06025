#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/attention_driver.h"
#include "kernels/attention_test_data.h"
#include "kernels/isa.h"
#include "kernels/math.h"
#include "tensor/half.h"

namespace sampan {
namespace {

// The cache of one sequence with known keys and values; memory that holds no position is NaN.
class Sequence {
 public:
  Sequence(const KvLayout& layout, std::int64_t length, std::uint32_t seed)
      : layout_(layout),
        keys_(random_floats(count(length, layout.head_dim), seed)),
        values_(random_floats(count(length, layout.value_width()), seed + 1)),
        pages_(layout.page_bytes(), length) {
    ThreadPool pool(1);
    std::vector<std::int32_t> positions;
    for (std::int32_t i = 0; i < length; ++i) positions.push_back(i);
    const std::vector<std::byte* const*> tables(positions.size(), pages());
    store_kv(layout, keys_.data(), values_.data(), length, positions.data(), tables.data(), pool);
    round_as_stored(layout.dtype, layout.head_dim, keys_);
    round_as_stored(layout.dtype, layout.value_width(), values_);
  }

  std::byte* const* pages() const { return pages_.table(); }
  float key(std::int64_t j, std::int64_t kv_head, std::int64_t d) const {
    return keys_[index(j, kv_head, d, layout_.head_dim)];
  }
  float value(std::int64_t j, std::int64_t kv_head, std::int64_t d) const {
    return values_[index(j, kv_head, d, layout_.value_width())];
  }

 private:
  std::size_t count(std::int64_t tokens, std::int64_t width) const {
    return static_cast<std::size_t>(tokens * layout_.kv_heads * width);
  }
  std::size_t index(std::int64_t j, std::int64_t kv_head, std::int64_t d,
                    std::int64_t width) const {
    return static_cast<std::size_t>((j * layout_.kv_heads + kv_head) * width + d);
  }

  KvLayout layout_;
  std::vector<float> keys_;
  std::vector<float> values_;
  Pages pages_;
};

// The contract of attention.h for one query and head, line by line.
struct OneHead {
  const AttentionArgs& args;
  const Sequence& sequence;
  std::int64_t kv_head;
  const float* q;

  std::vector<float> run(std::int64_t position) const {
    const std::int64_t head_dim = args.layout.head_dim;
    const std::int64_t first =
        args.window > 0 ? std::max<std::int64_t>(0, position - args.window + 1) : 0;
    float m = -std::numeric_limits<float>::infinity();
    float l = 0.0f;
    const std::int64_t value_dim = args.layout.value_width();
    std::vector<float> o(static_cast<std::size_t>(value_dim), 0.0f);
    for (std::int64_t page = first / 64; page <= position / 64; ++page) {
      float s[64];
      float highest = m;
      for (int j = 0; j < 64; ++j) {
        const std::int64_t at = page * 64 + j;
        s[j] = -std::numeric_limits<float>::infinity();
        if (at < first || at > position) continue;
        float dot = 0.0f;
        for (std::int64_t d = 0; d < head_dim; ++d) {
          dot = std::fma(q[d], sequence.key(at, kv_head, d), dot);
        }
        s[j] = args.scale * dot;
        highest = std::max(highest, s[j]);
      }
      const float c = exp_f32(m - highest);
      float lane[16] = {};
      for (int j = 0; j < 64; ++j) lane[j % 16] += exp_f32(s[j] - highest);
      for (int i = 0; i < 8; ++i) lane[i] += lane[i + 8];
      for (int i = 0; i < 4; ++i) lane[i] += lane[i + 4];
      for (int i = 0; i < 2; ++i) lane[i] += lane[i + 2];
      l = std::fma(l, c, lane[0] + lane[1]);
      m = highest;
      for (std::int64_t d = 0; d < value_dim; ++d) {
        float& sum = o[static_cast<std::size_t>(d)];
        sum = sum * c;
        for (std::int64_t j = 0; j < 64; ++j) {
          const std::int64_t at = page * 64 + j;
          if (at < first || at > position) continue;
          sum = std::fma(exp_f32(s[j] - highest), sequence.value(at, kv_head, d), sum);
        }
      }
    }
    for (float& sum : o) sum /= l;
    return o;
  }

  // Plain softmax attention in double.
  std::vector<double> exact(std::int64_t position) const {
    const std::int64_t first =
        args.window > 0 ? std::max<std::int64_t>(0, position - args.window + 1) : 0;
    std::vector<double> weights;
    double total = 0;
    for (std::int64_t at = first; at <= position; ++at) {
      double dot = 0;
      for (std::int64_t d = 0; d < args.layout.head_dim; ++d) {
        dot += double{q[d]} * double{sequence.key(at, kv_head, d)};
      }
      weights.push_back(std::exp(dot * double{args.scale}));
      total += weights.back();
    }
    std::vector<double> o(static_cast<std::size_t>(args.layout.value_width()));
    for (std::size_t d = 0; d < o.size(); ++d) {
      for (std::int64_t at = first; at <= position; ++at) {
        o[d] += weights[static_cast<std::size_t>(at - first)] / total *
                double{sequence.value(at, kv_head, static_cast<std::int64_t>(d))};
      }
    }
    return o;
  }
};

struct Case {
  DType dtype;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  std::int64_t window;
  std::int64_t first_position;
  std::int64_t queries;
  std::int64_t value_dim = 0;

  AttentionArgs args() const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    return {{kv_heads, head_dim, dtype, value_dim}, heads, scale, window};
  }
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  return stream << dtype_name(c.dtype) << " heads " << c.heads << "/" << c.kv_heads << " dim "
                << c.head_dim << " window " << c.window << " at " << c.first_position << " + "
                << c.queries;
}

std::vector<float> attend(Isa isa, const AttentionArgs& args, const float* q,
                          const std::vector<AttentionQuery>& queries, int threads) {
  ThreadPool pool(threads);
  const std::size_t row = static_cast<std::size_t>(args.heads * args.layout.value_width());
  std::vector<float> out(queries.size() * row, kNan);
  attention_with(attention_table(isa), args, nullptr, q, queries, out.data(), pool);
  return out;
}

class AttentionTest : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionTest, EveryInstructionSetGivesTheContractsBits) {
  const Case& c = GetParam();
  const AttentionArgs args = c.args();
  const Sequence sequence(args.layout, c.first_position + c.queries, 1);
  const std::int64_t row = c.heads * c.head_dim;
  const std::vector<float> q = random_floats(static_cast<std::size_t>(c.queries * row), 3, 2.0f);
  std::vector<float> expected;
  double worst = 0;
  for (std::int64_t i = 0; i < c.queries; ++i) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const OneHead head{args, sequence, h / (c.heads / c.kv_heads),
                         q.data() + i * row + h * c.head_dim};
      const std::vector<float> o = head.run(c.first_position + i);
      const std::vector<double> exact = head.exact(c.first_position + i);
      for (std::size_t d = 0; d < o.size(); ++d) {
        worst = std::max(worst, std::abs(double{o[d]} - exact[d]));
      }
      expected.insert(expected.end(), o.begin(), o.end());
    }
  }
  EXPECT_LT(worst, 4e-6);
  const auto queries = consecutive(sequence, c.first_position, c.queries);
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, 1), expected)) << isa_name(isa);
  }
}

TEST_P(AttentionTest, CompanyChunksAndThreadsLeaveTheBitsAlone) {
  const Case& c = GetParam();
  const AttentionArgs args = c.args();
  const Sequence sequence(args.layout, c.first_position + c.queries, 5);
  const std::int64_t row = c.heads * c.head_dim;
  const std::vector<float> q = random_floats(static_cast<std::size_t>(c.queries * row), 7, 2.0f);
  const auto queries = consecutive(sequence, c.first_position, c.queries);
  for (const Isa isa : supported_isas()) {
    const std::vector<float> whole = attend(isa, args, q.data(), queries, 1);
    EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, 3), whole)) << isa_name(isa);
    for (const std::size_t chunk : {1u, 2u, 7u, 33u}) {
      const auto parts =
          in_chunks(queries, q.data(), row, chunk, [&](const float* from, const auto& some) {
            return attend(isa, args, from, some, 1 + chunk % 2);
          });
      EXPECT_TRUE(same_bits(parts, whole)) << isa_name(isa) << " chunks of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    ::testing::Values(
        Case{DType::kF32, 2, 1, 128, 0, 0, 130}, Case{DType::kF16, 2, 1, 128, 0, 0, 130},
        Case{DType::kF32, 4, 2, 64, 0, 60, 10}, Case{DType::kF16, 6, 2, 80, 0, 100, 60},
        Case{DType::kF32, 3, 3, 24, 0, 0, 70}, Case{DType::kF16, 2, 2, 8, 0, 62, 70},
        Case{DType::kF32, 5, 1, 96, 0, 120, 20}, Case{DType::kF16, 2, 1, 256, 0, 63, 3},
        Case{DType::kF32, 7, 1, 1, 0, 0, 66}, Case{DType::kF16, 3, 1, 13, 0, 0, 66},
        Case{DType::kF32, 2, 2, 37, 0, 50, 40}, Case{DType::kF16, 60, 1, 16, 0, 64, 9},
        Case{DType::kF32, 2, 1, 32, 1, 0, 70}, Case{DType::kF16, 2, 1, 32, 5, 60, 70},
        Case{DType::kF32, 2, 1, 40, 64, 0, 200}, Case{DType::kF16, 2, 2, 40, 100, 30, 200},
        Case{DType::kF32, 4, 2, 64, 0, 700, 1}, Case{DType::kF16, 2, 1, 64, 0, 511, 2},
        Case{DType::kF32, 3, 3, 192, 0, 30, 120, 128}, Case{DType::kF16, 4, 2, 96, 0, 0, 70, 64},
        Case{DType::kF32, 4, 1, 24, 0, 100, 9, 40}, Case{DType::kF16, 2, 2, 13, 20, 60, 70, 5},
        Case{DType::kQ8_0, 2, 1, 128, 0, 0, 130}, Case{DType::kQ8_0, 6, 2, 80, 0, 100, 60},
        Case{DType::kQ8_0, 2, 2, 8, 0, 62, 70}, Case{DType::kQ8_0, 2, 1, 256, 0, 63, 3},
        Case{DType::kQ8_0, 3, 1, 13, 0, 0, 66}, Case{DType::kQ8_0, 60, 1, 16, 0, 64, 9},
        Case{DType::kQ8_0, 2, 2, 37, 0, 50, 40}, Case{DType::kQ8_0, 2, 1, 32, 5, 60, 70},
        Case{DType::kQ8_0, 2, 2, 40, 100, 30, 200}, Case{DType::kQ8_0, 7, 1, 1, 0, 0, 66},
        Case{DType::kQ8_0, 4, 2, 96, 0, 0, 70, 64}, Case{DType::kQ8_0, 2, 2, 13, 20, 60, 70, 5}),
    [](const auto& param_info) { return "case_" + std::to_string(param_info.index); });

TEST(Attention, ThreeHundredQueriesAtOnceOrOneByOne) {
  const AttentionArgs args = Case{DType::kF16, 4, 2, 64, 0, 0, 300}.args();
  const Sequence sequence(args.layout, 300, 11);
  const std::vector<float> q = random_floats(300 * 4 * 64, 13, 2.0f);
  const auto queries = consecutive(sequence, 0, 300);
  const Isa isa = active_isa();
  const std::vector<float> whole = attend(isa, args, q.data(), queries, 2);
  for (std::size_t i = 0; i < 300; ++i) {
    const auto one = attend(isa, args, q.data() + i * 256, {queries[i]}, 1);
    ASSERT_EQ(std::memcmp(one.data(), whole.data() + i * 256, 256 * sizeof(float)), 0) << i;
  }
}

TEST(Attention, SequencesMixInOneBatch) {
  const AttentionArgs args = Case{DType::kF32, 4, 2, 64, 0, 0, 0}.args();
  const Sequence a(args.layout, 200, 17);
  const Sequence b(args.layout, 90, 19);
  // Runs that break: another sequence, a gap, a step back, the same position twice.
  const std::vector<AttentionQuery> queries = {{0, a.pages()},   {1, a.pages()},  {89, b.pages()},
                                               {70, a.pages()},  {71, a.pages()}, {5, a.pages()},
                                               {199, a.pages()}, {63, b.pages()}, {64, b.pages()},
                                               {65, b.pages()},  {65, b.pages()}, {199, a.pages()}};
  const std::vector<float> q = random_floats(queries.size() * 256, 23);
  for (const Isa isa : supported_isas()) {
    const std::vector<float> whole = attend(isa, args, q.data(), queries, 2);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const auto one = attend(isa, args, q.data() + i * 256, {queries[i]}, 1);
      EXPECT_EQ(std::memcmp(one.data(), whole.data() + i * 256, 256 * sizeof(float)), 0)
          << isa_name(isa) << " " << i;
    }
  }
}

TEST(Attention, AWindowNeedsOnlyItsOwnPages) {
  const AttentionArgs args = Case{DType::kF32, 2, 1, 64, 70, 0, 0}.args();
  const Sequence sequence(args.layout, 300, 29);
  const std::vector<float> q = random_floats(2 * 2 * 64, 31);
  std::vector<std::byte*> late(sequence.pages(), sequence.pages() + 5);
  for (int page = 0; page < 3; ++page) late[static_cast<std::size_t>(page)] = nullptr;
  for (const Isa isa : supported_isas()) {
    const std::vector<AttentionQuery> whole = {{298, sequence.pages()}, {299, sequence.pages()}};
    const std::vector<AttentionQuery> part = {{298, late.data()}, {299, late.data()}};
    EXPECT_TRUE(
        same_bits(attend(isa, args, q.data(), part, 1), attend(isa, args, q.data(), whole, 1)));
  }
}

TEST(Attention, ScoresFarApartNeitherOverflowNorVanish) {
  const AttentionArgs args = Case{DType::kF32, 2, 1, 64, 0, 0, 0}.args();
  const Sequence sequence(args.layout, 130, 37);
  const std::vector<float> q = random_floats(2 * 64, 41, 1e4f);
  const std::vector<AttentionQuery> queries = {{129, sequence.pages()}};
  const auto expected = attend(Isa::kReference, args, q.data(), queries, 1);
  for (const float value : expected) EXPECT_TRUE(std::isfinite(value));
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, 1), expected)) << isa_name(isa);
  }
}

TEST(Attention, NotANumberInAQueryStaysInItsRow) {
  const AttentionArgs args = Case{DType::kF32, 2, 1, 64, 0, 0, 0}.args();
  const Sequence sequence(args.layout, 100, 43);
  std::vector<float> q = random_floats(4 * 2 * 64, 47);
  const auto queries = consecutive(sequence, 96, 4);
  for (const Isa isa : supported_isas()) {
    const auto clean = attend(isa, args, q.data(), queries, 1);
    std::vector<float> broken_q = q;
    broken_q[128 + 3] = kNan;
    const auto broken = attend(isa, args, broken_q.data(), queries, 1);
    for (std::size_t i = 0; i < broken.size(); ++i) {
      if (i / 64 == 2) {
        EXPECT_TRUE(std::isnan(broken[i])) << i;
      } else {
        EXPECT_EQ(broken[i], clean[i]) << i;
      }
    }
  }
}

// Pages that are only there while their piece runs, heads in groups.
std::vector<float> attend_in_pieces(Isa isa, const AttentionArgs& args, const Sequence& sequence,
                                    const float* q, std::int64_t first, std::int64_t count,
                                    std::int64_t pages, int threads) {
  ThreadPool pool(threads);
  const std::int64_t value_dim = args.layout.value_width();
  const auto heads = static_cast<std::size_t>(count * args.heads);
  std::vector<float> out(heads * static_cast<std::size_t>(value_dim), kNan);
  std::vector<float> m(heads, kNan), l(heads, kNan);
  const std::int64_t length = first + count;
  const std::int64_t all = (length + kKvPagePositions - 1) / kKvPagePositions;
  for (std::int64_t page = 0; page < all; page += pages) {
    std::vector<std::byte*> table(static_cast<std::size_t>(all), nullptr);
    const std::int64_t end = std::min(page + pages, all);
    for (std::int64_t i = page; i < end; ++i) {
      table[static_cast<std::size_t>(i)] = sequence.pages()[i];
    }
    // Those that see nothing of the piece were finished before.
    const std::int64_t skipped = std::max<std::int64_t>(0, page * kKvPagePositions - first);
    std::vector<AttentionQuery> queries;
    for (std::int64_t i = skipped; i < count; ++i) {
      queries.push_back({static_cast<std::int32_t>(first + i), table.data()});
    }
    const std::int64_t at = skipped * args.heads;
    const AttentionPiece piece = {page, end, args.heads, m.data() + at, l.data() + at};
    attention_with(attention_table(isa), args, &piece, q + at * args.layout.head_dim, queries,
                   out.data() + at * value_dim, pool);
  }
  return out;
}

TEST(AttentionPieces, GiveTheBitsOfTheWhole) {
  for (const Case& c :
       {Case{DType::kF32, 3, 3, 48, 0, 0, 300, 32}, Case{DType::kF16, 4, 2, 64, 0, 250, 140},
        Case{DType::kF32, 2, 1, 24, 0, 400, 1}, Case{DType::kQ8_0, 4, 2, 64, 0, 250, 140}}) {
    const AttentionArgs args = c.args();
    const Sequence sequence(args.layout, c.first_position + c.queries, 73);
    const std::vector<float> q =
        random_floats(static_cast<std::size_t>(c.queries * c.heads * c.head_dim), 79, 2.0f);
    const auto queries = consecutive(sequence, c.first_position, c.queries);
    for (const Isa isa : supported_isas()) {
      const auto whole = attend(isa, args, q.data(), queries, 1);
      for (const std::int64_t pages : {1, 2, 3, 100}) {
        const auto pieces = attend_in_pieces(isa, args, sequence, q.data(), c.first_position,
                                             c.queries, pages, 1 + static_cast<int>(pages) % 3);
        EXPECT_TRUE(same_bits(pieces, whole)) << isa_name(isa) << ", " << c << ", " << pages;
      }
    }
  }
}

// Heads of a row one group after the other, each with keys and values of its own.
TEST(AttentionPieces, TakeSomeHeadsOfARow) {
  constexpr std::int64_t kHeads = 5, kDim = 24, kValues = 16, kCount = 90;
  const std::vector<float> q = random_floats(kCount * kHeads * kDim, 83, 2.0f);
  std::vector<float> out(kCount * kHeads * kValues, kNan);
  std::vector<float> m(kCount * kHeads), l(kCount * kHeads);
  ThreadPool pool(2);
  for (const auto& [head, heads] : {std::pair<std::int64_t, std::int64_t>{0, 2}, {2, 3}}) {
    const AttentionArgs args = {{heads, kDim, DType::kF32, kValues}, heads, 0.2f, 0};
    const Sequence sequence(args.layout, kCount, 89);
    const auto queries = consecutive(sequence, 0, kCount);
    for (std::int64_t page = 0; page < 2; ++page) {
      const std::int64_t at = page * kKvPagePositions * kHeads + head;
      const AttentionPiece piece = {page, page + 1, kHeads, m.data() + at, l.data() + at};
      attention_piece(args, piece, q.data() + at * kDim,
                      std::span(queries).subspan(static_cast<std::size_t>(page * kKvPagePositions)),
                      out.data() + at * kValues, pool);
    }
    for (std::int64_t t = 0; t < kCount; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t row = t * kHeads + head + h;
        const OneHead one{args, sequence, h, q.data() + row * kDim};
        const std::vector<float> expected = one.run(t);
        ASSERT_EQ(std::memcmp(expected.data(), out.data() + row * kValues, kValues * sizeof(float)),
                  0)
            << "query " << t << " head " << head + h;
      }
    }
  }
}

// One query and few kv heads: the heads of a group are spread over the threads.
TEST(Attention, HeadsOfAGroupApartOrTogether) {
  for (const std::int64_t kv_heads : {1, 2}) {
    for (const std::int64_t group : {1, 7, 16, 60}) {
      const AttentionArgs args = Case{DType::kF16, kv_heads * group, kv_heads, 128, 0, 0, 0}.args();
      const Sequence sequence(args.layout, 1500, 67);
      const std::vector<float> q =
          random_floats(static_cast<std::size_t>(2 * args.heads * 128), 71, 2.0f);
      const auto queries = consecutive(sequence, 1498, 2);
      const auto whole = attend(active_isa(), args, q.data(), queries, 1);
      for (const int threads : {2, 3, 5, 16}) {
        EXPECT_TRUE(same_bits(attend(active_isa(), args, q.data(), queries, threads), whole))
            << kv_heads << " x " << group << ", " << threads << " threads";
      }
    }
  }
}

TEST(Attention, NoQueriesIsNothingToDo) {
  const AttentionArgs args = Case{DType::kF32, 2, 1, 64, 0, 0, 0}.args();
  ThreadPool pool(2);
  attention(args, nullptr, {}, nullptr, pool);
}

TEST(StoreKv, LaysKeysAndValuesOutAsTheContractSays) {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    for (const std::int64_t head_dim : {1, 8, 13, 128}) {
      const std::int64_t value_dim = head_dim == 13 ? 5 : head_dim;
      const KvLayout layout{3, head_dim, dtype, value_dim};
      const std::int64_t tokens = 150;
      const Sequence sequence(layout, tokens, 53);
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t h = 0; h < 3; ++h) {
          for (std::int64_t d = 0; d < head_dim; ++d) {
            const std::int64_t slot = t % 64;
            const std::int64_t key = ((h * 4 + slot / 16) * head_dim + d) * 16 + slot % 16;
            const std::int64_t value = 3 * 64 * head_dim + (h * 64 + slot) * value_dim + d;
            const std::byte* const page = sequence.pages()[t / 64];
            const auto at = [&](std::int64_t index) {
              if (dtype == DType::kF32) return reinterpret_cast<const float*>(page)[index];
              return f16_to_float(reinterpret_cast<const std::uint16_t*>(page)[index]);
            };
            ASSERT_EQ(at(key), sequence.key(t, h, d));
            if (d < value_dim) {
              ASSERT_EQ(at(value), sequence.value(t, h, d));
            }
          }
        }
      }
    }
  }
}

TEST(StoreKv, LaysCodesAndScalesOutAsTheContractSays) {
  for (const std::int64_t head_dim : {1, 13, 80, 128}) {
    const std::int64_t value_dim = head_dim == 13 ? 45 : head_dim;
    const KvLayout layout{3, head_dim, DType::kQ8_0, value_dim};
    const std::int64_t key_groups = (head_dim + 31) / 32;
    const std::int64_t value_groups = (value_dim + 31) / 32;
    const std::int64_t key_part = 64 * (head_dim + 2 * key_groups);
    const std::int64_t value_part = 64 * (value_dim + 2 * value_groups);
    ASSERT_EQ(layout.page_bytes(), 3 * (key_part + value_part));
    const Sequence sequence(layout, 150, 53);
    for (std::int64_t t = 0; t < 150; ++t) {
      const std::byte* const page = sequence.pages()[t / 64];
      const std::int64_t slot = t % 64;
      const auto number = [&](const std::byte* part, std::int64_t width, std::int64_t code,
                              std::int64_t scale) {
        const auto* const scales = reinterpret_cast<const std::uint16_t*>(part + 64 * width);
        return static_cast<float>(reinterpret_cast<const std::int8_t*>(part)[code]) *
               f16_to_float(scales[scale]);
      };
      for (std::int64_t h = 0; h < 3; ++h) {
        for (std::int64_t d = 0; d < head_dim; ++d) {
          const std::int64_t code = (slot / 16 * head_dim + d) * 16 + slot % 16;
          const std::int64_t scale = (slot / 16 * key_groups + d / 32) * 16 + slot % 16;
          ASSERT_EQ(number(page + h * key_part, head_dim, code, scale), sequence.key(t, h, d));
        }
        for (std::int64_t d = 0; d < value_dim; ++d) {
          const std::byte* const part = page + 3 * key_part + h * value_part;
          ASSERT_EQ(number(part, value_dim, slot * value_dim + d, slot * value_groups + d / 32),
                    sequence.value(t, h, d));
        }
      }
    }
  }
}

class StoreKvOrder : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(Types, StoreKvOrder, ::testing::Values(DType::kF16, DType::kQ8_0),
                         [](const auto& param_info) {
                           return std::string(dtype_name(param_info.param));
                         });

TEST_P(StoreKvOrder, ThreadsAndOrderDoNotMatter) {
  const KvLayout layout{2, 64, GetParam()};
  const std::size_t row = 2 * 64;
  const std::vector<float> k = random_floats(200 * row, 59);
  const std::vector<float> v = random_floats(200 * row, 61);
  const auto store = [&](int threads, std::size_t chunk) {
    std::vector<std::byte> memory(static_cast<std::size_t>(4 * layout.page_bytes()));
    std::vector<std::byte*> table;
    for (int i = 0; i < 4; ++i) table.push_back(memory.data() + i * layout.page_bytes());
    ThreadPool pool(threads);
    for (std::size_t begin = 0; begin < 200; begin += chunk) {
      const std::size_t count = std::min(chunk, 200 - begin);
      std::vector<std::int32_t> positions;
      for (std::size_t i = 0; i < count; ++i) {
        positions.push_back(static_cast<std::int32_t>(begin + i));
      }
      const std::vector<std::byte* const*> tables(count, table.data());
      store_kv(layout, k.data() + begin * row, v.data() + begin * row,
               static_cast<std::int64_t>(count), positions.data(), tables.data(), pool);
    }
    return memory;
  };
  const auto whole = store(1, 200);
  EXPECT_EQ(store(3, 200), whole);
  EXPECT_EQ(store(2, 1), whole);
  EXPECT_EQ(store(2, 77), whole);
}

}  // namespace
}  // namespace sampan
