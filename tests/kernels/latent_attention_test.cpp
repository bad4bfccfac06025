#include "kernels/latent_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/attention_driver.h"
#include "kernels/attention_test_data.h"
#include "kernels/math.h"
#include "tensor/half.h"

namespace sampan {
namespace {

std::vector<std::int32_t> positions_from(std::int64_t first, std::size_t count) {
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; i < count; ++i) {
    positions.push_back(static_cast<std::int32_t>(first) + static_cast<std::int32_t>(i));
  }
  return positions;
}

// The latent cache of one sequence with known rows; memory that holds no position is NaN.
class LatentSequence {
 public:
  LatentSequence(const LatentLayout& layout, std::int64_t length, std::uint32_t seed)
      : layout_(layout),
        rows_(random_floats(static_cast<std::size_t>(length * layout.row_dim()), seed)),
        pages_(layout.page_bytes(), length) {
    ThreadPool pool(1);
    const auto positions = positions_from(0, static_cast<std::size_t>(length));
    const std::vector<std::byte* const*> tables(positions.size(), pages());
    store_latent(layout, rows_.data(), layout.row_dim(), length, positions.data(), tables.data(),
                 pool);
    round_as_stored(layout.dtype, layout.row_dim(), rows_);
  }

  std::byte* const* pages() const { return pages_.table(); }
  float at(std::int64_t j, std::int64_t d) const {
    return rows_[static_cast<std::size_t>(j * layout_.row_dim() + d)];
  }

 private:
  LatentLayout layout_;
  std::vector<float> rows_;
  Pages pages_;
};

float fold(const float* lanes) {
  float lane[16];
  std::copy_n(lanes, 16, lane);
  for (int i = 0; i < 8; ++i) lane[i] += lane[i + 8];
  for (int i = 0; i < 4; ++i) lane[i] += lane[i + 4];
  for (int i = 0; i < 2; ++i) lane[i] += lane[i + 2];
  return lane[0] + lane[1];
}

// One query and head: by the contract of latent_attention.h line by line, and in double.
struct OneLatentHead {
  const LatentAttentionArgs& args;
  const LatentSequence& sequence;
  const float* q;

  float score(std::int64_t j) const {
    const std::int64_t size = args.layout.row_dim();
    float lane[16] = {};
    for (std::int64_t d = 0; d < (size + 15) / 16 * 16; ++d) {
      const float x = d < size ? q[d] : 0.0f;
      const float y = d < size ? sequence.at(j, d) : 0.0f;
      lane[d % 16] = std::fma(x, y, lane[d % 16]);
    }
    return args.scale * fold(lane);
  }

  std::vector<float> run(std::int64_t position) const {
    float m = -std::numeric_limits<float>::infinity();
    float l = 0.0f;
    std::vector<float> o(static_cast<std::size_t>(args.layout.latent_dim), 0.0f);
    for (std::int64_t start = 0; start <= position; start += 64) {
      const std::int64_t visible = std::min<std::int64_t>(64, position + 1 - start);
      std::vector<float> s;
      for (std::int64_t j = 0; j < visible; ++j) s.push_back(score(start + j));
      const float highest = std::max(m, *std::max_element(s.begin(), s.end()));
      const float c = exp_f32(m - highest);
      float lane[16] = {};
      for (std::size_t j = 0; j < s.size(); ++j) lane[j % 16] += exp_f32(s[j] - highest);
      l = std::fma(l, c, fold(lane));
      m = highest;
      for (std::size_t d = 0; d < o.size(); ++d) {
        o[d] *= c;
        for (std::size_t j = 0; j < s.size(); ++j) {
          const float value =
              sequence.at(start + static_cast<std::int64_t>(j), static_cast<std::int64_t>(d));
          o[d] = std::fma(exp_f32(s[j] - highest), value, o[d]);
        }
      }
    }
    for (float& sum : o) sum /= l;
    return o;
  }

  std::vector<double> exact(std::int64_t position) const {
    std::vector<double> o(static_cast<std::size_t>(args.layout.latent_dim));
    double total = 0;
    for (std::int64_t j = 0; j <= position; ++j) {
      double dot = 0;
      for (std::int64_t d = 0; d < args.layout.row_dim(); ++d) {
        dot += double{q[d]} * double{sequence.at(j, d)};
      }
      const double weight = std::exp(dot * double{args.scale});
      total += weight;
      for (std::size_t d = 0; d < o.size(); ++d) {
        o[d] += weight * double{sequence.at(j, static_cast<std::int64_t>(d))};
      }
    }
    for (double& sum : o) sum /= total;
    return o;
  }
};

struct LatentCase {
  DType dtype;
  std::int64_t heads;
  std::int64_t latent_dim;
  std::int64_t rope_dim;
  std::int64_t first_position;
  std::int64_t queries;

  LatentAttentionArgs args() const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(latent_dim + rope_dim));
    return {{latent_dim, rope_dim, dtype}, heads, scale};
  }
};

std::ostream& operator<<(std::ostream& stream, const LatentCase& c) {
  return stream << dtype_name(c.dtype) << " heads " << c.heads << " of " << c.latent_dim << " + "
                << c.rope_dim << " at " << c.first_position << " + " << c.queries;
}

std::vector<float> attend(Isa isa, const LatentAttentionArgs& args, const float* q,
                          const std::vector<AttentionQuery>& queries, int threads) {
  ThreadPool pool(threads);
  const auto row = static_cast<std::size_t>(args.heads * args.layout.latent_dim);
  std::vector<float> out(queries.size() * row, kNan);
  latent_attention_with(attention_table(isa), args, q, queries, out.data(), pool);
  return out;
}

std::vector<float> random_queries(const LatentAttentionArgs& args, std::size_t count,
                                  std::uint32_t seed, float spread = 2.0f) {
  return random_floats(count * static_cast<std::size_t>(args.heads * args.layout.row_dim()), seed,
                       spread);
}

class LatentAttentionTest : public ::testing::TestWithParam<LatentCase> {};

TEST_P(LatentAttentionTest, EveryInstructionSetGivesTheContractsBits) {
  const LatentCase& c = GetParam();
  const LatentAttentionArgs args = c.args();
  const LatentSequence sequence(args.layout, c.first_position + c.queries, 1);
  const std::vector<float> q = random_queries(args, static_cast<std::size_t>(c.queries), 3);
  std::vector<float> expected;
  double worst = 0;
  for (std::int64_t i = 0; i < c.queries; ++i) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const OneLatentHead head{args, sequence, q.data() + (i * c.heads + h) * args.layout.row_dim()};
      const std::vector<float> o = head.run(c.first_position + i);
      const std::vector<double> exact = head.exact(c.first_position + i);
      for (std::size_t d = 0; d < o.size(); ++d) {
        worst = std::max(worst, std::abs(double{o[d]} - exact[d]));
      }
      expected.insert(expected.end(), o.begin(), o.end());
    }
  }
  EXPECT_LT(worst, 6e-6);
  const auto queries = consecutive(sequence, c.first_position, c.queries);
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, 1), expected)) << isa_name(isa);
  }
}

TEST_P(LatentAttentionTest, CompanyChunksAndThreadsLeaveTheBitsAlone) {
  const LatentCase& c = GetParam();
  const LatentAttentionArgs args = c.args();
  const LatentSequence sequence(args.layout, c.first_position + c.queries, 5);
  const std::int64_t row = c.heads * args.layout.row_dim();
  const std::vector<float> q = random_queries(args, static_cast<std::size_t>(c.queries), 7);
  const auto queries = consecutive(sequence, c.first_position, c.queries);
  for (const Isa isa : supported_isas()) {
    const std::vector<float> whole = attend(isa, args, q.data(), queries, 1);
    for (const int threads : {2, 3, 7}) {
      EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, threads), whole))
          << isa_name(isa) << " threads " << threads;
    }
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
    Shapes, LatentAttentionTest,
    ::testing::Values(LatentCase{DType::kF32, 4, 32, 8, 0, 130}, LatentCase{DType::kF16, 4, 32, 8, 0, 130},
                    LatentCase{DType::kF32, 16, 512, 64, 125, 5}, LatentCase{DType::kF16, 16, 512, 64, 60, 9},
                    LatentCase{DType::kF16, 128, 48, 16, 70, 2}, LatentCase{DType::kF32, 5, 13, 3, 0, 70},
                    LatentCase{DType::kF16, 3, 37, 11, 50, 40}, LatentCase{DType::kF32, 1, 1, 1, 0, 66},
                    LatentCase{DType::kF16, 2, 1, 0, 30, 40}, LatentCase{DType::kF32, 7, 100, 28, 190, 6},
                    LatentCase{DType::kF16, 6, 65, 64, 62, 5}, LatentCase{DType::kF32, 2, 64, 32, 700, 1},
                    LatentCase{DType::kQ8_0, 4, 32, 8, 0, 130}, LatentCase{DType::kQ8_0, 16, 512, 64, 60, 9},
                    LatentCase{DType::kQ8_0, 3, 37, 11, 50, 40}, LatentCase{DType::kQ8_0, 5, 13, 3, 0, 70},
                    LatentCase{DType::kQ8_0, 2, 1, 0, 30, 40}, LatentCase{DType::kQ8_0, 6, 65, 64, 62, 5}),
    [](const auto& param_info) { return "case_" + std::to_string(param_info.index); });

// Enough work that the pool takes part, heads split over more threads than they divide by.
TEST(LatentAttention, HeadsOverThreads) {
  for (const std::int64_t heads : {1, 16, 50}) {
    const LatentAttentionArgs args = LatentCase{DType::kF16, heads, 128, 32, 0, 0}.args();
    const LatentSequence sequence(args.layout, 1200, 11);
    const std::vector<float> q = random_queries(args, 3, 13);
    const auto queries = consecutive(sequence, 1197, 3);
    const auto whole = attend(active_isa(), args, q.data(), queries, 1);
    for (const int threads : {2, 3, 16}) {
      EXPECT_TRUE(same_bits(attend(active_isa(), args, q.data(), queries, threads), whole))
          << heads << " heads, " << threads << " threads";
    }
  }
}

TEST(LatentAttention, SequencesMixInOneBatch) {
  const LatentAttentionArgs args = LatentCase{DType::kF16, 4, 64, 16, 0, 0}.args();
  const LatentSequence a(args.layout, 200, 17);
  const LatentSequence b(args.layout, 90, 19);
  // Runs that break: another sequence, a gap, a step back, the same position twice.
  const std::vector<AttentionQuery> queries = {{0, a.pages()},   {1, a.pages()},  {89, b.pages()},
                                               {70, a.pages()},  {71, a.pages()}, {5, a.pages()},
                                               {199, a.pages()}, {63, b.pages()}, {64, b.pages()},
                                               {65, b.pages()},  {65, b.pages()}, {199, a.pages()}};
  const std::vector<float> q = random_queries(args, queries.size(), 23);
  const std::size_t q_row = 4 * 80;
  const std::size_t row = 4 * 64;
  for (const Isa isa : supported_isas()) {
    const std::vector<float> whole = attend(isa, args, q.data(), queries, 2);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const auto one = attend(isa, args, q.data() + i * q_row, {queries[i]}, 1);
      EXPECT_EQ(std::memcmp(one.data(), whole.data() + i * row, row * sizeof(float)), 0)
          << isa_name(isa) << " " << i;
    }
  }
}

TEST(LatentAttention, ScoresFarApartNeitherOverflowNorVanish) {
  const LatentAttentionArgs args = LatentCase{DType::kF32, 2, 64, 16, 0, 0}.args();
  const LatentSequence sequence(args.layout, 130, 37);
  const std::vector<float> q = random_queries(args, 1, 41, 1e4f);
  const std::vector<AttentionQuery> queries = {{129, sequence.pages()}};
  const auto expected = attend(Isa::kReference, args, q.data(), queries, 1);
  for (const float value : expected) EXPECT_TRUE(std::isfinite(value));
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(same_bits(attend(isa, args, q.data(), queries, 1), expected)) << isa_name(isa);
  }
}

TEST(LatentAttention, NotANumberInAQueryStaysInItsRow) {
  const LatentAttentionArgs args = LatentCase{DType::kF32, 2, 64, 16, 0, 0}.args();
  const LatentSequence sequence(args.layout, 100, 43);
  std::vector<float> q = random_queries(args, 4, 47);
  const auto queries = consecutive(sequence, 96, 4);
  for (const Isa isa : supported_isas()) {
    const auto clean = attend(isa, args, q.data(), queries, 1);
    std::vector<float> broken_q = q;
    broken_q[2 * 80 + 3] = kNan;
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

// Scratch memory is kept from call to call; what lies behind a narrower row must not come back.
TEST(LatentAttention, NothingIsLeftOfTheCallBefore) {
  const LatentAttentionArgs wide = LatentCase{DType::kF32, 2, 64, 16, 0, 0}.args();
  const LatentAttentionArgs narrow = LatentCase{DType::kF32, 2, 60, 10, 0, 0}.args();
  const LatentSequence wide_sequence(wide.layout, 70, 73);
  const LatentSequence narrow_sequence(narrow.layout, 70, 79);
  const std::vector<float> q = random_queries(narrow, 1, 83);
  const std::vector<float> no_numbers(2 * 80, kNan);
  for (const Isa isa : supported_isas()) {
    const auto clean = attend(isa, narrow, q.data(), {{69, narrow_sequence.pages()}}, 1);
    attend(isa, wide, no_numbers.data(), {{69, wide_sequence.pages()}}, 1);
    const auto again = attend(isa, narrow, q.data(), {{69, narrow_sequence.pages()}}, 1);
    EXPECT_TRUE(same_bits(again, clean)) << isa_name(isa);
    for (const float value : again) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(LatentAttention, NoQueriesIsNothingToDo) {
  const LatentAttentionArgs args = LatentCase{DType::kF32, 2, 64, 16, 0, 0}.args();
  ThreadPool pool(2);
  latent_attention(args, nullptr, {}, nullptr, pool);
}

TEST(StoreLatent, LaysRowsOutAsTheContractSays) {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    for (const std::int64_t latent_dim : {1, 13, 32, 512}) {
      const LatentLayout layout{latent_dim, 8, dtype};
      const std::int64_t width = (latent_dim + 8 + 15) / 16 * 16;
      ASSERT_EQ(layout.width(), width);
      ASSERT_EQ(layout.page_bytes(), 64 * width * (dtype == DType::kF32 ? 4 : 2));
      const LatentSequence sequence(layout, 150, 53);
      for (std::int64_t t = 0; t < 150; ++t) {
        for (std::int64_t d = 0; d < width; ++d) {
          const std::int64_t index = t % 64 * width + d;
          const std::byte* const page = sequence.pages()[t / 64];
          const float stored =
              dtype == DType::kF32
                  ? reinterpret_cast<const float*>(page)[index]
                  : f16_to_float(reinterpret_cast<const std::uint16_t*>(page)[index]);
          ASSERT_EQ(stored, d < latent_dim + 8 ? sequence.at(t, d) : 0.0f);
        }
      }
    }
  }
}

TEST(StoreLatent, LaysCodesAndScalesOutAsTheContractSays) {
  for (const std::int64_t latent_dim : {1, 13, 24, 512}) {
    const LatentLayout layout{latent_dim, 8, DType::kQ8_0};
    const std::int64_t width = layout.width();
    const std::int64_t groups = (width + 31) / 32;
    ASSERT_EQ(layout.page_bytes(), 64 * (width + 2 * groups));
    const LatentSequence sequence(layout, 150, 53);
    for (std::int64_t t = 0; t < 150; ++t) {
      const std::byte* const page = sequence.pages()[t / 64];
      const auto* const codes = reinterpret_cast<const std::int8_t*>(page) + t % 64 * width;
      const auto* const scales =
          reinterpret_cast<const std::uint16_t*>(page + 64 * width) + t % 64 * groups;
      for (std::int64_t d = 0; d < width; ++d) {
        ASSERT_EQ(static_cast<float>(codes[d]) * f16_to_float(scales[d / 32]),
                  d < latent_dim + 8 ? sequence.at(t, d) : 0.0f);
      }
    }
  }
}

class StoreLatentOrder : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(Types, StoreLatentOrder, ::testing::Values(DType::kF16, DType::kQ8_0),
                         [](const auto& param_info) {
                           return std::string(dtype_name(param_info.param));
                         });

TEST_P(StoreLatentOrder, StridesThreadsAndOrderDoNotMatter) {
  const LatentLayout layout{200, 20, GetParam()};
  const std::int64_t stride = 231;
  const std::vector<float> rows = random_floats(400 * 231, 59);
  const auto store = [&](int threads, std::size_t chunk) {
    Pages pages(layout.page_bytes(), 448);
    ThreadPool pool(threads);
    for (std::size_t begin = 0; begin < 400; begin += chunk) {
      const std::size_t count = std::min(chunk, 400 - begin);
      const auto positions = positions_from(static_cast<std::int64_t>(begin), count);
      const std::vector<std::byte* const*> tables(count, pages.table());
      store_latent(layout, rows.data() + begin * 231, stride, static_cast<std::int64_t>(count),
                   positions.data(), tables.data(), pool);
    }
    return pages;
  };
  const Pages whole = store(1, 400);
  EXPECT_TRUE(store(3, 400) == whole);
  EXPECT_TRUE(store(2, 1) == whole);
  EXPECT_TRUE(store(2, 77) == whole);
}

TEST(LoadLatent, GivesBackWhatWasStored) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0}) {
    const LatentLayout layout{205, 20, dtype};
    const LatentSequence sequence(layout, 500, 61);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      const std::int64_t stride = 230;
      std::vector<float> rows(static_cast<std::size_t>(430 * stride), 7.0f);
      load_latent(layout, sequence.pages(), 63, 493, rows.data(), stride, pool);
      for (std::int64_t i = 0; i < 430; ++i) {
        for (std::int64_t d = 0; d < stride; ++d) {
          ASSERT_EQ(rows[static_cast<std::size_t>(i * stride + d)],
                    d < layout.row_dim() ? sequence.at(63 + i, d) : 7.0f);
        }
      }
      load_latent(layout, sequence.pages(), 5, 5, nullptr, stride, pool);
    }
  }
}

}  // namespace
}  // namespace sampan
