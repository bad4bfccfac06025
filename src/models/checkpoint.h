#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/thread_pool.h"
#include "formats/tensor_file.h"
#include "kernels/matmul.h"
#include "models/config.h"

namespace sampan {

// The three matrices of an expert.
enum class ExpertPart : std::uint8_t { kGate, kUp, kDown };
inline constexpr ExpertPart kExpertParts[] = {ExpertPart::kGate, ExpertPart::kUp, ExpertPart::kDown};

// The weights of a model by their Hugging Face names, whichever format they lie in: the only way by which a model gets a
// tensor, with shape and type asserted. Weights that are views stay valid for the object's life.
class Checkpoint {
 public:
  // path: a folder with config.json and safetensors, or a .gguf file. Reads the configuration and the tensors' descriptors;
  // no weight is touched. Throws Error.
  explicit Checkpoint(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  // From here on as if the files had no layer of multi-token prediction.
  void leave_out_prediction();
  // How the model that is made of it computes latent attention; no effect where it has none.
  void set_mla_mode(MlaMode mode);
  // How matrices that are made from here on are multiplied.
  void set_bf16_products(Bf16Products products) { bf16_products_ = products; }
  const TensorFiles& files() const { return files_; }

  bool has(std::string_view name) const;
  // Bytes of an element of what transposed_rows() makes of this tensor.
  std::int64_t transposed_element_bytes(std::string_view name) const;
  // Throws Error kInvalidData when the tensor is missing or its shape is another (naming both).
  TensorView tensor(std::string_view name, const Shape& shape) const;
  // A matrix for products (rows = outputs), plain or in the quantised form that the configuration names; kUnsupported for a type
  // without a product. In the order of the HF rows: GGUF's permuted q and k (heads of head_dim rows) are put back when
  // permuted_heads > 0 and the configuration says so.
  WeightMatrix matrix(std::string_view name, std::int64_t rows, std::int64_t columns, ThreadPool& pool,
                      std::int64_t permuted_heads = 0) const;
  // Part [first_row, first_row + rows) of a matrix of `all_rows` rows.
  WeightMatrix matrix_rows(std::string_view name, std::int64_t all_rows, std::int64_t first_row, std::int64_t rows,
                           std::int64_t columns, ThreadPool& pool) const;
  // Matrix `index` of a tensor (count, rows, columns) or (count * rows, columns).
  WeightMatrix stacked_matrix(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows,
                              std::int64_t columns, ThreadPool& pool) const;
  // One row as a matrix; stored as (1, columns) or (columns).
  WeightMatrix row_matrix(std::string_view name, std::int64_t columns, ThreadPool& pool) const;
  // A matrix of expert `expert` of the mixture at prefix ("model.layers.3.mlp."), whether the experts are stored apart (as
  // published), stacked (GGUF), or stacked with gate and up in one (transformers 5).
  WeightMatrix expert_matrix(const std::string& prefix, std::int64_t expert, ExpertPart part, ThreadPool& pool,
                             const WeightAllocator& allocate = allocate_weights) const;
  // All matrices of a mixture's experts: the three of expert e at 3 e, in the order of kExpertParts.
  std::vector<WeightMatrix> expert_matrices(const std::string& prefix, ThreadPool& pool) const;
  // Bytes of memory that an expert of the mixture at prefix owns once it is made, paddings included: the most of its experts.
  // Checks the shapes of all of them.
  std::int64_t packed_expert_bytes(const std::string& prefix) const;
  // Where an expert lies in the mapped files.
  std::vector<std::span<const std::byte>> expert_bytes(const std::string& prefix, std::int64_t expert) const;
  // The transpose of rows [first_row, first_row + rows) of a matrix (all_rows, columns): (columns, rows), of the stored type where
  // that is a float type, else F32. Owned.
  WeightMatrix transposed_rows(std::string_view name, std::int64_t all_rows, std::int64_t first_row, std::int64_t rows,
                               std::int64_t columns, ThreadPool& pool) const;
  // The transpose of matrix `index` of a tensor as stacked_matrix() takes it, of a type as above.
  WeightMatrix transposed_stacked(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows,
                                  std::int64_t columns, ThreadPool& pool) const;
  // A vector as floats (norm weights, biases); put back in the HF order as above.
  std::vector<float> vector(std::string_view name, std::int64_t size, std::int64_t permuted_heads = 0) const;

 private:
  // With the products that were asked for, and the name of its tensor where there is one.
  WeightMatrix for_products(WeightMatrix matrix, std::string name = {}) const;
  // A matrix as it is stored.
  using Source = std::variant<TensorView, QuantizedMatrix>;
  Source expert_source(const std::string& prefix, std::int64_t expert, ExpertPart part) const;
  std::string expert_tensor(const std::string& prefix, std::int64_t expert, ExpertPart part) const;
  std::optional<QuantizedMatrix> quantized(std::string_view name, std::int64_t rows, std::int64_t columns) const;
  std::string stored_name(std::string_view name) const;
  TensorView stacked(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows, std::int64_t columns) const;
  std::vector<std::int64_t> unpermuted_rows(std::int64_t rows, std::int64_t heads) const;

  TensorFiles files_;
  ModelConfig config_;
  // What the file puts before the names ("language_model." in a model that also sees), or that it leaves "model." out (saved
  // from the base model: Qwen3-Embedding).
  std::string prefix_;
  bool bare_names_ = false;
  Bf16Products bf16_products_ = Bf16Products::kExact;
};

}  // namespace sampan
