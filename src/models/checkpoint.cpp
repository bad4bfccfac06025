#include "models/checkpoint.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "kernels/block_codec.h"
#include "models/family.h"

namespace sampan {
namespace {

constexpr std::string_view kBasePrefix = "model.";

std::vector<float> to_floats(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  dequantize_row(view.dtype, view.data, view.elements(), values.data());
  return values;
}

ModelConfig read_config(const std::filesystem::path& path, const TensorFiles& files) {
  if (files.gguf() == nullptr) {
    const std::filesystem::path folder = std::filesystem::is_directory(path) ? path : path.parent_path();
    return config_from_json(read_file(folder / "config.json", 16 << 20));
  }
  std::vector<float> divisors;
  if (const std::optional<TensorView> freqs = files.find_view("rope_freqs.weight"); freqs) {
    if (freqs->dtype != DType::kF32 || freqs->elements() > (1 << 20)) {
      fail(ErrorCode::kInvalidData, "gguf: rope_freqs.weight is {} {}, not a short F32 vector",
           dtype_name(freqs->dtype), shape_text(freqs->shape));
    }
    divisors = to_floats(*freqs);
  }
  return config_from_gguf(*files.gguf(), files, std::move(divisors));
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& path)
    : files_(TensorFiles::open(path)), config_(read_config(path, files_)) {
  bare_names_ = files_.gguf() == nullptr && !files_.find("model.embed_tokens.weight") &&
                files_.find("embed_tokens.weight") != nullptr;
}

std::string Checkpoint::stored_name(std::string_view name) const {
  if (files_.gguf() != nullptr) return gguf_tensor_name(name, family_named(config_.family));
  if (bare_names_ && name.starts_with(kBasePrefix)) name.remove_prefix(kBasePrefix.size());
  return std::string(name);
}

bool Checkpoint::has(std::string_view name) const { return files_.find(stored_name(name)) != nullptr; }

TensorView Checkpoint::tensor(std::string_view name, const Shape& shape) const {
  const std::string stored = stored_name(name);
  const std::optional<TensorView> view = files_.find_view(stored);
  if (!view) fail(ErrorCode::kInvalidData, "tensor {} is missing", stored);
  if (view->shape != shape) {
    fail(ErrorCode::kInvalidData, "tensor {}: shape {}, the configuration asks for {}", stored,
         shape_text(view->shape), shape_text(shape));
  }
  return *view;
}

// Converters reorder a head's rows from (half, pair) to (pair, half), so that pairs to be rotated lie side by side; row
// 2 i + h of the file is row h * head_dim / 2 + i of the published weight.
std::vector<std::int64_t> Checkpoint::unpermuted_rows(std::int64_t rows, std::int64_t heads) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
  const std::int64_t width = rows / heads;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t half = row % width / (width / 2);
    const std::int64_t pair = row % width % (width / 2);
    order[static_cast<std::size_t>(row)] = row / width * width + 2 * pair + half;
  }
  return order;
}

WeightMatrix Checkpoint::matrix(std::string_view name, std::int64_t rows, std::int64_t columns, ThreadPool& pool,
                                std::int64_t permuted_heads) const {
  const TensorView view = tensor(name, {rows, columns});
  if (permuted_heads > 0 && config_.permuted_qk) {
    return WeightMatrix::make(view, unpermuted_rows(rows, permuted_heads), pool);
  }
  return WeightMatrix::make(view, pool);
}

std::vector<float> Checkpoint::vector(std::string_view name, std::int64_t size, std::int64_t permuted_heads) const {
  std::vector<float> values = to_floats(tensor(name, {size}));
  if (permuted_heads == 0 || !config_.permuted_qk) return values;
  std::vector<float> ordered;
  ordered.reserve(values.size());
  for (const std::int64_t row : unpermuted_rows(size, permuted_heads)) {
    ordered.push_back(values[static_cast<std::size_t>(row)]);
  }
  return ordered;
}

}  // namespace sampan
