#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "base/error.h"
#include "kernels/attention_table.h"
#include "kernels/isa_tables.h"
#include "kernels/matmul_table.h"
#include "kernels/ops_table.h"
#include "kernels/pack_table.h"

namespace sampan {
namespace {

// Runs in a child process, where the choice has not been made yet: exits with 0 when
// SAMPAN_ISA=name made `isa` the active one with its tables.
[[noreturn]] void run_forced(Isa isa) {
  ::setenv("SAMPAN_ISA", std::string(isa_name(isa)).c_str(), 1);
  const bool chosen = active_isa() == isa && &active_ops_table() == &ops_table(isa) &&
                      &active_attention_table() == &attention_table(isa);
  std::exit(chosen ? 0 : 1);
}

[[noreturn]] void run_refused(const char* name) {
  ::setenv("SAMPAN_ISA", name, 1);
  try {
    active_isa();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::exit(error.code() == ErrorCode::kInvalidArgument ? 3 : 1);
  }
  std::exit(1);
}

[[noreturn]] void run_unset() {
  ::unsetenv("SAMPAN_ISA");
  Isa best = Isa::kReference;
  for (const Isa isa : {Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512, Isa::kNeon, Isa::kI8mm}) {
    if (isa_supported(isa)) best = isa;
  }
  std::exit(active_isa() == best ? 0 : 1);
}

class IsaDeathTest : public ::testing::Test {
 protected:
  // A fresh process, so that no earlier test has chosen.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(IsaDeathTest, TheForcedOneRuns) {
  for (const Isa isa : kAllIsas) {
    if (isa_supported(isa)) {
      EXPECT_EXIT(run_forced(isa), ::testing::ExitedWithCode(0), "") << isa_name(isa);
    } else {
      EXPECT_EXIT(run_refused(std::string(isa_name(isa)).c_str()), ::testing::ExitedWithCode(3),
                  "does not have it");
    }
  }
}

TEST_F(IsaDeathTest, UnknownNamesAreRefused) {
  EXPECT_EXIT(run_refused("avx3"), ::testing::ExitedWithCode(3), "SAMPAN_ISA=avx3: not one of");
  EXPECT_EXIT(run_refused("AVX2"), ::testing::ExitedWithCode(3), "not one of");
}

TEST_F(IsaDeathTest, TheBestIsChosenUnasked) {
  EXPECT_EXIT(run_unset(), ::testing::ExitedWithCode(0), "");
}

TEST(Isa, TablesAreTheirOwn) {
  EXPECT_TRUE(isa_supported(Isa::kReference));
  std::set<const void*> tables;
  std::size_t expected = 0;
  for (const Isa isa : kAllIsas) {
    if (!isa_supported(isa)) continue;
    tables.insert({&matmul_table(isa), &ops_table(isa), &attention_table(isa), &pack_table(isa),
                   &isa_tables(isa).peaks()});
    // AVX-VNNI is AVX2, I8MM is NEON but for integer products.
    expected += isa == Isa::kAvxVnni || isa == Isa::kI8mm ? 2 : 5;
  }
  EXPECT_EQ(tables.size(), expected);
}

// Builds whose machine is known say which instruction set their tests are for: without it, the
// others would pass by comparing the reference with itself.
#ifdef SAMPAN_EXPECTED_ISA
TEST_F(IsaDeathTest, TheExpectedOneIsChosenUnasked) {
  const auto run = [] {
    ::unsetenv("SAMPAN_ISA");
    std::exit(isa_name(active_isa()) == SAMPAN_EXPECTED_ISA ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace sampan
