#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/attention_table.h"
#include "kernels/ops_table.h"

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
  if (isa_supported(Isa::kAvx2)) best = Isa::kAvx2;
  if (isa_supported(Isa::kAvx512)) best = Isa::kAvx512;
  std::exit(active_isa() == best ? 0 : 1);
}

class IsaDeathTest : public ::testing::Test {
 protected:
  // A fresh process, so that no earlier test has chosen.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(IsaDeathTest, TheForcedOneRuns) {
  for (const Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512}) {
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
  EXPECT_NE(&ops_table(Isa::kAvx2), &ops_table(Isa::kReference));
  EXPECT_NE(&ops_table(Isa::kAvx512), &ops_table(Isa::kAvx2));
  EXPECT_NE(&attention_table(Isa::kAvx2), &attention_table(Isa::kReference));
  EXPECT_NE(&attention_table(Isa::kAvx512), &attention_table(Isa::kAvx2));
  EXPECT_TRUE(isa_supported(Isa::kReference));
}

}  // namespace
}  // namespace sampan
