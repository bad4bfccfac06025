// Products read and write nothing beyond what their caller hands them: the operands end where an
// unmapped page begins. The sanitizers do not watch the instruction sets' products
// (src/kernels/CMakeLists.txt), so this does.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>

#include "kernels/matmul.h"
#include "kernels/matmul_table.h"
#include "kernels/matmul_test_data.h"
#include "kernels/quantized_activations.h"
#include "kernels/quantized_test_data.h"

namespace sampan {
namespace {

using namespace matmul_test;

// Memory of `bytes` bytes between two unmapped pages, flush with the second, or with the first.
class Guarded {
 public:
  enum class Side { kEnd, kBegin };
  Guarded(std::size_t bytes, Side side) : mapped_((bytes + kPage - 1) / kPage * kPage + 2 * kPage) {
    void* memory =
        ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(memory);
    ::mprotect(base_, kPage, PROT_NONE);
    ::mprotect(base_ + mapped_ - kPage, kPage, PROT_NONE);
    data_ = side == Side::kBegin ? base_ + kPage : base_ + mapped_ - kPage - bytes;
  }
  ~Guarded() { ::munmap(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  std::byte* data() { return data_; }
  float* floats() { return reinterpret_cast<float*>(data_); }

 private:
  static constexpr std::size_t kPage = 4096;
  std::size_t mapped_;
  std::byte* base_;
  std::byte* data_;
};

void multiply_guarded(DType dtype, const std::vector<std::byte>& weights, std::int64_t rows,
                      std::int64_t columns, std::int64_t tokens, Guarded::Side side) {
  ThreadPool pool(2);
  Guarded w(weights.size(), side);
  std::memcpy(w.data(), weights.data(), weights.size());
  Guarded x(static_cast<std::size_t>(tokens * columns) * sizeof(float), side);
  const std::vector<float> values = random_activations(tokens * columns, 5);
  std::memcpy(x.data(), values.data(), values.size() * sizeof(float));
  Guarded y(static_cast<std::size_t>(tokens * rows) * sizeof(float), side);
  const WeightMatrix matrix = WeightMatrix::make(view(dtype, rows, columns, w.data()), pool);
  Activations activations;
  activations.set(x.floats(), tokens, columns);
  activations.require(activation_kind(dtype), pool);
  for (const Isa isa : supported_isas()) {
    matmul_with_table(matmul_table(isa), matrix, activations, y.floats(), rows, pool);
  }
}

TEST(MatmulBounds, BlockTypes) {
  for (const DType dtype : kBlockTypes) {
    const std::int64_t columns = 3 * dtype_info(dtype).block_elements;
    for (const std::int64_t rows : {1, 17, 33}) {
      const auto weights = random_blocks(dtype, rows, columns, Codes::kRandom, Scales::kRandom, 1);
      for (const std::int64_t tokens : {1, 3, 9}) {
        multiply_guarded(dtype, weights, rows, columns, tokens, Guarded::Side::kEnd);
        multiply_guarded(dtype, weights, rows, columns, tokens, Guarded::Side::kBegin);
      }
    }
  }
}

// The panels themselves end where an unmapped page begins.
TEST(MatmulBounds, PublishedForms) {
  ThreadPool pool(2);
  for (const quantized_test::Form& form : quantized_test::forms()) {
    const quantized_test::Made made = form.make(48, 192, 1);
    for (const Guarded::Side side : {Guarded::Side::kEnd, Guarded::Side::kBegin}) {
      const WeightMatrix w = WeightMatrix::make(made.matrix, {}, pool, [side](std::size_t bytes) {
        const auto memory = std::make_shared<Guarded>(bytes, side);
        return std::shared_ptr<std::byte>(memory, memory->data());
      });
      for (const std::int64_t tokens : {1, 3, 9, 17}) {
        const std::vector<float> x = random_activations(tokens * w.columns(), 5);
        Guarded y(static_cast<std::size_t>(tokens * w.rows()) * sizeof(float), side);
        Activations activations;
        activations.set(x.data(), tokens, w.columns());
        activations.require(activation_kind(w.dtype()), pool);
        for (const Isa isa : supported_isas()) {
          matmul_with_table(matmul_table(isa), w, activations, y.floats(), w.rows(), pool);
        }
      }
    }
  }
}

TEST(MatmulBounds, FloatTypes) {
  for (const DType dtype : kFloatTypes) {
    for (const std::int64_t columns : {1, 7, 16, 33, 100}) {
      for (const std::int64_t rows : {1, 5, 17}) {
        const auto bytes = static_cast<std::size_t>(rows * columns * dtype_info(dtype).block_bytes);
        const std::vector<std::byte> weights(bytes, std::byte{1});
        for (const std::int64_t tokens : {1, 3, 9, 33}) {
          multiply_guarded(dtype, weights, rows, columns, tokens, Guarded::Side::kEnd);
          multiply_guarded(dtype, weights, rows, columns, tokens, Guarded::Side::kBegin);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sampan
