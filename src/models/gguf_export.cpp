#include "models/gguf_export.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/block_codes.h"
#include "models/family.h"
#include "models/rope.h"

namespace sampan {
namespace {

constexpr std::int64_t kPieceRows = 256;
// Of a compensated matrix, whose factor passes by once a piece.
constexpr std::int64_t kCompensatedRows = 1024;
constexpr std::string_view kGgufLayer = "blk.";

// general.file_type as peers number whole-file types.
std::uint32_t file_type(MatrixTypes types) {
  switch (types.type) {
    case DType::kF32: return 0;
    case DType::kF16: return 1;
    case DType::kQ4_0: return 2;
    case DType::kQ4_1: return 3;
    case DType::kQ8_0: return 7;
    case DType::kQ5_0: return 8;
    case DType::kQ5_1: return 9;
    case DType::kQ2_K: return 10;
    case DType::kQ3_K: return 12;
    case DType::kQ4_K: return types.mixed ? 15 : 14;
    case DType::kQ5_K: return types.mixed ? 17 : 16;
    case DType::kQ6_K: return 18;
    case DType::kIQ4_NL: return 25;
    case DType::kIQ4_XS: return 30;
    case DType::kBF16: return 32;
    case DType::kMXFP4: return 38;
    default: return 0;
  }
}

void refuse_inexpressible(const ModelConfig& c) {
  if (c.mla || c.moe) {
    fail(ErrorCode::kUnsupported, "{} is not written to GGUF from safetensors by this version; a GGUF file of it can be requantised", c.family);
  }
  if (c.rope.type == RopeType::kDynamicNtk) {
    fail(ErrorCode::kUnsupported, "GGUF has no dynamic NTK rope; the model cannot be written to it");
  }
  if (std::any_of(c.windows.begin(), c.windows.end(), [](std::int64_t window) { return window > 0; })) {
    fail(ErrorCode::kUnsupported, "GGUF has no sliding windows for {}; the model cannot be written to it", c.family);
  }
}

void write_rope(const ModelConfig& c, const std::string& arch, GgufWriter& writer) {
  writer.add_f32(arch + "rope.freq_base", static_cast<float>(c.rope.theta));
  writer.add_u32(arch + "rope.dimension_count", static_cast<std::uint32_t>(c.head_dim));
  if (c.rope.type == RopeType::kLinear) {
    writer.add_string(arch + "rope.scaling.type", "linear");
    writer.add_f32(arch + "rope.scaling.factor", static_cast<float>(c.rope.factor));
  } else if (c.rope.type == RopeType::kYarn) {
    const double inferred = c.rope.factor <= 1.0 ? 1.0 : 0.1 * std::log(c.rope.factor) + 1.0;
    writer.add_string(arch + "rope.scaling.type", "yarn");
    writer.add_f32(arch + "rope.scaling.factor", static_cast<float>(c.rope.factor));
    writer.add_u32(arch + "rope.scaling.original_context_length", static_cast<std::uint32_t>(c.rope.original_context));
    writer.add_f32(arch + "rope.scaling.yarn_beta_fast", static_cast<float>(c.rope.beta_fast));
    writer.add_f32(arch + "rope.scaling.yarn_beta_slow", static_cast<float>(c.rope.beta_slow));
    writer.add_f32(arch + "rope.scaling.attn_factor", static_cast<float>(c.rope.attention_factor / inferred));
  }
}

// Divisors that give llama3's frequencies from the plain ones.
std::vector<float> llama3_divisors(const ModelConfig& c) {
  RopeConfig plain = c.rope;
  plain.type = RopeType::kDefault;
  plain.factor = 1.0;
  std::vector<float> divisors = rope_inverse_frequencies(plain, c.head_dim, 0);
  const std::vector<float> scaled = rope_inverse_frequencies(c.rope, c.head_dim, 0);
  for (std::size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

// Rows of q and k in GGUF's order: row 2 i + h of a head is the published row h * width / 2 + i.
std::int64_t published_row(std::int64_t row, std::int64_t rows, std::int64_t heads) {
  const std::int64_t width = rows / heads;
  const std::int64_t in_head = row % width;
  return row / width * width + in_head % 2 * (width / 2) + in_head / 2;
}

// Whether a matrix is one of those that a mixture gives more bits ("blk.3.ffn_down.weight", stacked experts' as well).
bool needs_more_bits(const std::string& name, std::int64_t layers) {
  if (name.find(".attn_v.") == std::string::npos && name.find(".ffn_down") == std::string::npos) return false;
  std::int64_t layer = 0;
  const char* const begin = name.data() + kGgufLayer.size();
  if (!name.starts_with(kGgufLayer) || std::from_chars(begin, name.data() + name.size(), layer).ec != std::errc()) return false;
  const std::int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

bool is_embedding_or_head(const std::string& name) { return name == "output.weight" || name == "token_embd.weight"; }

// Whether a tensor's elements become codes.
bool is_rounded_matrix(DType type, const TensorView& source) { return has_codes(type) && source.dtype != type; }

Compensator::Matrix matrix_of(const std::string& stored_name, const TensorView& source) {
  return {stored_name, source.rows(), source.columns()};
}

}  // namespace

std::optional<MatrixTypes> matrix_types_named(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  const bool mixed = upper == "Q4_K_M" || upper == "Q5_K_M";
  if (mixed) upper.resize(upper.size() - 2);
  const std::optional<DType> type = dtype_from_name(upper);
  const bool is_float = type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
  if (!type || !(is_float || is_block_type(*type))) return std::nullopt;
  return MatrixTypes{*type, mixed};
}

GgufExport::GgufExport(const Checkpoint& checkpoint, MatrixTypes types) : checkpoint_(checkpoint), types_(types) {
  const ModelConfig& c = checkpoint.config();
  const bool from_gguf = checkpoint.files().gguf() != nullptr;
  if (is_block_type(types.type) && !can_quantize(types.type)) {
    fail(ErrorCode::kUnsupported, "{} cannot be encoded", dtype_name(types.type));
  }
  if (!from_gguf) refuse_inexpressible(c);
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    Item item;
    item.source = checkpoint.files().view(tensor);
    item.name = item.stored_name = tensor.name;
    if (!from_gguf) {
      if (tensor.name.find("rotary_emb.inv_freq") != std::string::npos) continue;
      const bool bare = !tensor.name.starts_with("model.") && tensor.name != "lm_head.weight";
      const std::string hf_name = (bare ? "model." : "") + tensor.name;
      if (c.tied_embeddings && hf_name == "lm_head.weight") continue;
      item.name = gguf_tensor_name(hf_name, family_named(c.family));
      const bool permutes = family_named(c.family).gguf_permutes_qk;
      if (permutes && hf_name.find("self_attn.q_proj") != std::string::npos) item.permuted_heads = c.heads;
      if (permutes && hf_name.find("self_attn.k_proj") != std::string::npos) item.permuted_heads = c.kv_heads;
    }
    item.type = type_for(item.name, item.source);
    items_.push_back(std::move(item));
  }
}

DType GgufExport::type_for(const std::string& name, const TensorView& view) const {
  // Of three dimensions are stacked experts and heads of latent attention; routers choose by small differences.
  if (view.shape.size() < 2 || name.find("ffn_gate_inp") != std::string::npos) return DType::kF32;
  const bool is_head = name == "output.weight" || (checkpoint_.config().tied_embeddings && name == "token_embd.weight");
  DType type = types_.type;
  const bool is_coarse = is_block_type(type) && type != DType::kQ8_0;
  if (types_.mixed && needs_more_bits(name, checkpoint_.config().layers)) type = DType::kQ6_K;
  if (is_head && is_coarse && view.columns() % 256 == 0) type = DType::kQ6_K;
  if (view.columns() % dtype_info(type).block_elements == 0) return type;
  return view.columns() % dtype_info(DType::kQ8_0).block_elements == 0 ? DType::kQ8_0 : DType::kF16;
}

void GgufExport::write_metadata(GgufWriter& writer) const {
  if (const GgufFile* gguf = checkpoint_.files().gguf(); gguf != nullptr) {
    for (const GgufEntry& entry : gguf->metadata()) {
      if (entry.key == "general.file_type" || entry.key == "general.quantization_version" || entry.key.starts_with("split.")) continue;
      writer.add_entry(entry);
    }
  } else {
    const ModelConfig& c = checkpoint_.config();
    const std::string architecture(family_named(c.family).gguf_architecture);
    const std::string arch = architecture + ".";
    writer.add_string("general.architecture", architecture);
    writer.add_string("general.type", "model");
    writer.add_u32(arch + "context_length", static_cast<std::uint32_t>(c.context_length));
    writer.add_u32(arch + "embedding_length", static_cast<std::uint32_t>(c.hidden_size));
    writer.add_u32(arch + "block_count", static_cast<std::uint32_t>(c.layers));
    writer.add_u32(arch + "feed_forward_length", static_cast<std::uint32_t>(c.intermediate_size));
    writer.add_u32(arch + "attention.head_count", static_cast<std::uint32_t>(c.heads));
    writer.add_u32(arch + "attention.head_count_kv", static_cast<std::uint32_t>(c.kv_heads));
    writer.add_u32(arch + "attention.key_length", static_cast<std::uint32_t>(c.head_dim));
    writer.add_u32(arch + "attention.value_length", static_cast<std::uint32_t>(c.head_dim));
    writer.add_f32(arch + "attention.layer_norm_rms_epsilon", c.rms_norm_eps);
    writer.add_u32(arch + "vocab_size", static_cast<std::uint32_t>(c.vocab_size));
    write_rope(c, arch, writer);
  }
  writer.add_u32("general.quantization_version", 2);
  writer.add_u32("general.file_type", file_type(types_));
}

std::vector<std::string> GgufExport::write_tensors(GgufWriter& writer, ThreadPool& pool, const Calibration& calibration,
                                                   const Progress& progress) const {
  const ModelConfig& c = checkpoint_.config();
  const bool has_divisors = checkpoint_.files().gguf() == nullptr && c.rope.type == RopeType::kLlama3;
  Compensator* const compensator = calibration.compensator;
  std::int64_t total = 0;
  std::vector<Compensator::Matrix> compensated;
  for (const Item& item : items_) {
    writer.add_tensor(item.name, item.type, item.source.shape);
    total += item.source.bytes();
    if (compensator != nullptr && is_compensated(item, *compensator)) compensated.push_back(matrix_of(item.stored_name, item.source));
  }
  if (has_divisors) writer.add_tensor("rope_freqs.weight", DType::kF32, {c.head_dim / 2});
  if (compensator != nullptr) compensator->expect(std::move(compensated));
  std::int64_t done = 0;
  std::vector<std::string> unmet;
  for (const Item& item : items_) {
    const bool asks = compensator != nullptr && is_compensated(item, *compensator);
    const Compensation* const compensation = asks ? compensator->next() : nullptr;
    if (asks && compensation == nullptr) unmet.push_back(item.name);
    write_item(item, calibration.importance, compensation, writer, pool);
    done += item.source.bytes();
    progress(done, total);
  }
  if (has_divisors) writer.write(std::as_bytes(std::span<const float>(llama3_divisors(c))));
  return unmet;
}

bool GgufExport::is_compensated(const Item& item, const Compensator& compensator) const {
  return is_rounded_matrix(item.type, item.source) && !is_embedding_or_head(item.name) &&
         compensator.can_compensate(matrix_of(item.stored_name, item.source));
}

std::vector<std::string> GgufExport::uncompensated(const Compensator& compensator) const {
  std::vector<std::string> names;
  for (const Item& item : items_) {
    if (is_rounded_matrix(item.type, item.source) && !is_compensated(item, compensator)) names.push_back(item.name);
  }
  return names;
}

void GgufExport::write_item(const Item& item, const Importance* importance, const Compensation* compensation, GgufWriter& writer,
                            ThreadPool& pool) const {
  const std::int64_t rows = item.source.rows();
  const std::int64_t columns = item.source.columns();
  const std::int64_t in_bytes = row_bytes(item.source.dtype, columns);
  const std::int64_t out_bytes = row_bytes(item.type, columns);
  const std::int64_t piece_rows = std::min(rows, compensation != nullptr ? kCompensatedRows : kPieceRows);
  std::vector<float> weights;
  if (importance != nullptr) weights = importance->of(item.stored_name, columns);
  std::vector<std::byte> piece(static_cast<std::size_t>(piece_rows * out_bytes));
  std::vector<float> to_compensate(compensation != nullptr ? static_cast<std::size_t>(piece_rows * columns) : 0);
  for (std::int64_t first = 0; first < rows; first += piece_rows) {
    const std::int64_t count = std::min(piece_rows, rows - first);
    pool.parallel_for(count, [&](std::int64_t i, int) {
      const std::int64_t row = item.permuted_heads == 0 ? first + i : published_row(first + i, rows, item.permuted_heads);
      const std::byte* source = item.source.data + row * in_bytes;
      std::byte* out = piece.data() + i * out_bytes;
      if (item.source.dtype == item.type) {
        std::copy(source, source + in_bytes, out);
        return;
      }
      if (compensation != nullptr) {
        dequantize_row(item.source.dtype, source, columns, to_compensate.data() + i * columns);
        return;
      }
      std::vector<float> values(static_cast<std::size_t>(columns));
      dequantize_row(item.source.dtype, source, columns, values.data());
      quantize_row(item.type, values.data(), columns, weights.empty() ? nullptr : weights.data(), out);
    });
    if (compensation != nullptr) compensation->quantize_rows(item.type, to_compensate.data(), count, piece.data(), pool);
    writer.write(std::span<const std::byte>(piece.data(), static_cast<std::size_t>(count * out_bytes)));
  }
}

}  // namespace sampan
