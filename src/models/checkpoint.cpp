#include "models/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/mapped_file.h"
#include "kernels/block_codec.h"
#include "models/family.h"

namespace sampan {
namespace {

constexpr std::string_view kBasePrefix = "model.";

// Rows [first, first + rows) of a matrix.
TensorView row_range(const TensorView& view, std::int64_t first, std::int64_t rows) {
  TensorView part = view;
  part.shape = {rows, view.columns()};
  part.data += first * row_bytes(view.dtype, view.columns());
  return part;
}

std::vector<std::int64_t> ascending(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

// Columns that are turned at a time: neighbours share cache lines of the source.
constexpr std::int64_t kTurnedColumns = 16;

// Value (row, column) goes to (column, row). `from` need not be aligned.
template <typename Value>
void transpose(const TensorView& from, std::byte* to, ThreadPool& pool) {
  const std::int64_t rows = from.rows(), columns = from.columns();
  pool.parallel_for((columns + kTurnedColumns - 1) / kTurnedColumns, [&](std::int64_t part, int) {
    const std::int64_t begin = part * kTurnedColumns;
    const std::int64_t end = std::min(begin + kTurnedColumns, columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = begin; c < end; ++c) {
        std::memcpy(to + (c * rows + r) * static_cast<std::int64_t>(sizeof(Value)),
                    from.data + (r * columns + c) * static_cast<std::int64_t>(sizeof(Value)), sizeof(Value));
      }
    }
  });
}

std::string_view part_name(ExpertPart part) {
  switch (part) {
    case ExpertPart::kGate: return "gate";
    case ExpertPart::kUp: return "up";
    case ExpertPart::kDown: return "down";
  }
  return "";
}

std::vector<float> to_floats(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  dequantize_row(view.dtype, view.data, view.elements(), values.data());
  return values;
}

WeightMatrix transposed(const TensorView& matrix, ThreadPool& pool) {
  TensorView from = matrix;
  std::vector<float> values;
  if (activation_kind(matrix.dtype) != ActivationKind::kFloat) {
    values = to_floats(matrix);
    from = {DType::kF32, matrix.shape, reinterpret_cast<const std::byte*>(values.data())};
  }
  std::vector<std::byte> turned(static_cast<std::size_t>(from.bytes()));
  if (from.dtype == DType::kF32) {
    transpose<std::uint32_t>(from, turned.data(), pool);
  } else {
    transpose<std::uint16_t>(from, turned.data(), pool);
  }
  // An order of rows asks for a copy of its own.
  return WeightMatrix::make({from.dtype, {from.columns(), from.rows()}, turned.data()}, ascending(0, from.columns()), pool);
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
  if (files_.gguf() == nullptr && files_.find("model.embed_tokens.weight") == nullptr) {
    bare_names_ = files_.find("embed_tokens.weight") != nullptr;
    if (files_.find("language_model.model.embed_tokens.weight") != nullptr) prefix_ = "language_model.";
  }
  // transformers saves models without the layer that their configuration names.
  if (!has(fmt::format("model.layers.{}.hnorm.weight", config_.layers))) leave_out_prediction();
}

void Checkpoint::leave_out_prediction() {
  config_.mtp_layers = 0;
  if (config_.moe) config_.moe->layers.resize(static_cast<std::size_t>(config_.layers));
}

void Checkpoint::set_mla_mode(MlaMode mode) {
  if (config_.mla) config_.mla->mode = mode;
}

std::string Checkpoint::stored_name(std::string_view name) const {
  if (files_.gguf() != nullptr) return gguf_tensor_name(name, family_named(config_.family));
  if (bare_names_ && name.starts_with(kBasePrefix)) name.remove_prefix(kBasePrefix.size());
  return prefix_ + std::string(name);
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

std::optional<QuantizedMatrix> Checkpoint::quantized(std::string_view name, std::int64_t rows, std::int64_t columns) const {
  if (config_.quantization.method == QuantizationMethod::kNone) return std::nullopt;
  return find_quantized(files_, stored_name(name), rows, columns, config_.quantization);
}

WeightMatrix Checkpoint::for_products(WeightMatrix matrix, std::string name) const {
  matrix.set_products(bf16_products_);
  matrix.set_name(std::move(name));
  return matrix;
}

WeightMatrix Checkpoint::matrix(std::string_view name, std::int64_t rows, std::int64_t columns, ThreadPool& pool,
                                std::int64_t permuted_heads) const {
  if (const auto source = quantized(name, rows, columns)) return for_products(WeightMatrix::make(*source, {}, pool));
  const TensorView view = tensor(name, {rows, columns});
  if (permuted_heads > 0 && config_.permuted_qk) {
    return for_products(WeightMatrix::make(view, unpermuted_rows(rows, permuted_heads), pool), stored_name(name));
  }
  return for_products(WeightMatrix::make(view, pool), stored_name(name));
}

WeightMatrix Checkpoint::matrix_rows(std::string_view name, std::int64_t all_rows, std::int64_t first_row, std::int64_t rows,
                                     std::int64_t columns, ThreadPool& pool) const {
  if (const auto source = quantized(name, all_rows, columns)) {
    return for_products(WeightMatrix::make(*source, ascending(first_row, rows), pool));
  }
  return for_products(WeightMatrix::make(row_range(tensor(name, {all_rows, columns}), first_row, rows), pool), stored_name(name));
}

TensorView Checkpoint::stacked(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows,
                               std::int64_t columns) const {
  // ik_llama.cpp's files have such a tensor flat.
  const std::optional<TensorView> view = files_.find_view(stored_name(name));
  const bool is_flat = view && view->shape.size() == 2;
  const Shape shape = is_flat ? Shape{count * rows, columns} : Shape{count, rows, columns};
  return row_range(tensor(name, shape), index * rows, rows);
}

WeightMatrix Checkpoint::stacked_matrix(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows,
                                        std::int64_t columns, ThreadPool& pool) const {
  return for_products(WeightMatrix::make(stacked(name, index, count, rows, columns), pool), stored_name(name));
}

WeightMatrix Checkpoint::row_matrix(std::string_view name, std::int64_t columns, ThreadPool& pool) const {
  const std::optional<TensorView> view = files_.find_view(stored_name(name));
  if (!view || view->shape.size() == 2) return matrix(name, 1, columns, pool);
  return for_products(WeightMatrix::make(row_range(tensor(name, {columns}), 0, 1), pool));
}

std::string Checkpoint::expert_tensor(const std::string& prefix, std::int64_t expert, ExpertPart part) const {
  const std::string stacked = fmt::format("{}experts.{}_proj.weight", prefix, part_name(part));
  if (has(stacked)) return stacked;
  const std::string both = prefix + "experts.gate_up_proj";
  if (has(both)) return part == ExpertPart::kDown ? prefix + "experts.down_proj" : both;
  return fmt::format("{}experts.{}.{}_proj.weight", prefix, expert, part_name(part));
}

Checkpoint::Source Checkpoint::expert_source(const std::string& prefix, std::int64_t expert, ExpertPart part) const {
  const std::int64_t count = config_.moe->experts;
  const bool is_down = part == ExpertPart::kDown;
  const std::int64_t rows = is_down ? config_.hidden_size : config_.moe->intermediate_size;
  const std::int64_t columns = is_down ? config_.moe->intermediate_size : config_.hidden_size;
  const std::string name = expert_tensor(prefix, expert, part);
  if (name.ends_with("experts.gate_up_proj")) {
    const TensorView view = tensor(name, {count, 2 * rows, columns});
    return row_range(view, (2 * expert + (part == ExpertPart::kUp ? 1 : 0)) * rows, rows);
  }
  const bool is_stacked = name.starts_with(fmt::format("{}experts.{}_proj", prefix, part_name(part)));
  if (is_stacked) return row_range(tensor(name, {count, rows, columns}), expert * rows, rows);
  if (auto source = quantized(name, rows, columns)) return *std::move(source);
  return tensor(name, {rows, columns});
}

WeightMatrix Checkpoint::expert_matrix(const std::string& prefix, std::int64_t expert, ExpertPart part, ThreadPool& pool,
                                       const WeightAllocator& allocate) const {
  return for_products(std::visit([&](const auto& source) { return WeightMatrix::make(source, {}, pool, allocate); },
                                 expert_source(prefix, expert, part)),
                      stored_name(expert_tensor(prefix, expert, part)));
}

std::vector<WeightMatrix> Checkpoint::expert_matrices(const std::string& prefix, ThreadPool& pool) const {
  std::vector<TensorView> views;
  std::vector<WeightMatrix> matrices;
  std::vector<std::string> names;
  for (std::int64_t e = 0; e < config_.moe->experts; ++e) {
    for (const ExpertPart part : kExpertParts) {
      const Source source = expert_source(prefix, e, part);
      names.push_back(stored_name(expert_tensor(prefix, e, part)));
      if (const auto* view = std::get_if<TensorView>(&source)) {
        views.push_back(*view);
        matrices.emplace_back();
      } else {
        matrices.push_back(WeightMatrix::make(std::get<QuantizedMatrix>(source), {}, pool));
      }
    }
  }
  std::vector<WeightMatrix> plain = WeightMatrix::make_all(views, pool);
  auto next = plain.begin();
  auto name = names.begin();
  for (WeightMatrix& matrix : matrices) {
    if (matrix.rows() == 0) matrix = std::move(*next++);
    matrix = for_products(std::move(matrix), std::move(*name++));
  }
  return matrices;
}

std::int64_t Checkpoint::packed_expert_bytes(const std::string& prefix) const {
  std::int64_t most = 0;
  for (std::int64_t e = 0; e < config_.moe->experts; ++e) {
    std::int64_t bytes = 0;
    for (const ExpertPart part : kExpertParts) {
      const Source source = expert_source(prefix, e, part);
      // Asking a quantised form reads the file, so one expert answers for its layer.
      if (e > 0 && std::holds_alternative<QuantizedMatrix>(source)) continue;
      bytes += std::visit([](const auto& s) { return (WeightMatrix::owned_bytes_of(s) + 63) / 64 * 64; }, source);
    }
    most = std::max(most, bytes);
  }
  return most;
}

std::vector<std::span<const std::byte>> Checkpoint::expert_bytes(const std::string& prefix, std::int64_t expert) const {
  std::vector<std::span<const std::byte>> bytes;
  for (const ExpertPart part : kExpertParts) {
    const Source source = expert_source(prefix, expert, part);
    if (const auto* view = std::get_if<TensorView>(&source)) {
      bytes.emplace_back(view->data, static_cast<std::size_t>(view->bytes()));
    } else {
      const auto storage = std::get<QuantizedMatrix>(source).storage();
      bytes.insert(bytes.end(), storage.begin(), storage.end());
    }
  }
  return bytes;
}

WeightMatrix Checkpoint::transposed_rows(std::string_view name, std::int64_t all_rows, std::int64_t first_row, std::int64_t rows,
                                         std::int64_t columns, ThreadPool& pool) const {
  if (const auto source = quantized(name, all_rows, columns)) {
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    source->dequantize_rows(first_row, rows, values.data());
    return for_products(transposed({DType::kF32, {rows, columns}, reinterpret_cast<const std::byte*>(values.data())}, pool));
  }
  return for_products(transposed(row_range(tensor(name, {all_rows, columns}), first_row, rows), pool));
}

WeightMatrix Checkpoint::transposed_stacked(std::string_view name, std::int64_t index, std::int64_t count, std::int64_t rows,
                                            std::int64_t columns, ThreadPool& pool) const {
  return for_products(transposed(stacked(name, index, count, rows, columns), pool));
}

std::int64_t Checkpoint::transposed_element_bytes(std::string_view name) const {
  const TensorDescriptor* const found = files_.find(stored_name(name));
  const bool is_kept = found != nullptr && (found->dtype == DType::kF16 || found->dtype == DType::kBF16);
  return is_kept ? 2 : 4;
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
