#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "formats/tensor_file.h"
#include "kernels/matmul.h"
#include "models/config.h"

namespace sampan {

// The weights of a model by their Hugging Face names, whichever format they lie in: the only way by which a model gets a
// tensor, with shape and type asserted. Weights that are views stay valid for the object's life.
class Checkpoint {
 public:
  // path: a folder with config.json and safetensors, or a .gguf file. Reads the configuration and the tensors' descriptors;
  // no weight is touched. Throws Error.
  explicit Checkpoint(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  const TensorFiles& files() const { return files_; }

  bool has(std::string_view name) const;
  // Throws Error kInvalidData when the tensor is missing or its shape is another (naming both).
  TensorView tensor(std::string_view name, const Shape& shape) const;
  // A matrix for products (rows = outputs); kUnsupported for a type without a product. In the order of the HF rows: GGUF's
  // permuted q and k (heads of head_dim rows) are put back when permuted_heads > 0 and the configuration says so.
  WeightMatrix matrix(std::string_view name, std::int64_t rows, std::int64_t columns, ThreadPool& pool,
                      std::int64_t permuted_heads = 0) const;
  // A vector as floats (norm weights, biases); put back in the HF order as above.
  std::vector<float> vector(std::string_view name, std::int64_t size, std::int64_t permuted_heads = 0) const;

 private:
  std::string stored_name(std::string_view name) const;
  std::vector<std::int64_t> unpermuted_rows(std::int64_t rows, std::int64_t heads) const;

  TensorFiles files_;
  ModelConfig config_;
  bool bare_names_ = false;  // saved from the base model: no "model." prefix (Qwen3-Embedding)
};

}  // namespace sampan
