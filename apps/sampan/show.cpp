#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "commands.h"
#include "model_card.h"
#include "text/model_text.h"
#include "models/load.h"
#include "models/rope.h"
#include "options.h"

namespace sampan {
namespace {

struct ShowOptions {
  std::string model;
  std::int64_t context = 0;
  ComputeOptions compute;
  bool metadata = false;
};

std::string human_bytes(std::int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value * 1e-9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value * 1e-6);
  return fmt::format("{:.1f} kB", value * 1e-3);
}

void line(const char* name, const std::string& value) { std::printf("%-14s %s\n", name, value.c_str()); }

std::int64_t parameter_count(const Checkpoint& checkpoint) {
  std::int64_t count = 0;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    std::int64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements *= size;
    count += elements;
  }
  return count;
}

// "Q4_K 197, F32 113": how many tensors of each type there are.
std::string type_summary(const Checkpoint& checkpoint) {
  std::vector<std::int64_t> counts(kDTypeCount);
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) counts[static_cast<std::size_t>(tensor.dtype)] += 1;
  std::string text;
  for (int i = 0; i < kDTypeCount; ++i) {
    const std::int64_t count = counts[static_cast<std::size_t>(i)];
    if (count > 0) text += fmt::format("{}{} ({} tensors)", text.empty() ? "" : ", ", dtype_name(static_cast<DType>(i)), count);
  }
  return text;
}

std::string latent_text(const ModelConfig& c) {
  const MlaConfig& mla = *c.mla;
  std::string text = fmt::format("{} heads over latents of {} + {}, queries {} + {} wide, values {}", c.heads, mla.kv_lora_rank,
                                 mla.rope_dim, mla.nope_dim, mla.rope_dim, mla.value_dim);
  if (mla.q_lora_rank > 0) text += fmt::format(", query latents of {}", mla.q_lora_rank);
  return text;
}

std::string experts_text(const ModelConfig& c) {
  const MoeConfig& moe = *c.moe;
  const auto sparse = std::count(moe.layers.begin(), moe.layers.begin() + c.layers, true);
  std::string text = fmt::format("{} of {} a token in {} of {} layers, each {} wide", moe.experts_per_token, moe.experts, sparse,
                                 c.layers, moe.intermediate_size);
  if (moe.groups_kept < moe.groups) text += fmt::format(", from {} of {} groups", moe.groups_kept, moe.groups);
  if (moe.shared_intermediate_size > 0) text += fmt::format(", one shared {} wide", moe.shared_intermediate_size);
  return text;
}

std::string attention_text(const ModelConfig& c) {
  if (c.mla) return latent_text(c);
  std::string text = fmt::format("{} query heads, {} key-value heads of {}", c.heads, c.kv_heads, c.head_dim);
  if (c.qk_norm) text += ", normed queries and keys";
  if (c.qkv_bias) text += ", biases";
  std::int64_t sliding = 0, window = 0;
  for (const std::int64_t w : c.windows) {
    sliding += w > 0 ? 1 : 0;
    window = std::max(window, w);
  }
  if (sliding > 0) text += fmt::format(", window of {} in {} of {} layers", window, sliding, c.layers);
  return text;
}

std::string rope_text(const RopeConfig& rope) {
  std::string text = fmt::format("base {:g}", rope.theta);
  if (rope.type == RopeType::kDefault) return text;
  text += fmt::format(", {} scaling", rope_type_name(rope.type));
  if (rope.type != RopeType::kDivisors) text += fmt::format(" by {:g}", rope.factor);
  if (rope.original_context > 0) text += fmt::format(" from {} tokens", rope.original_context);
  return text;
}

void show_text(const std::filesystem::path& path) {
  try {
    const ModelText text = load_model_text(path);
    line("tokenizer", text.tokenizer->description());
    line("template", text.chat_template ? fmt::format("{} characters", text.chat_template->source().size()) : "none: this model continues text");
  } catch (const Error& error) {
    line("tokenizer", error.what());
  }
}

// What a memory too small for all experts means.
void show_experts_in_memory(const Checkpoint& checkpoint, const MemoryPlan& plan, std::int64_t memory) {
  const ModelConfig& c = checkpoint.config();
  const std::int64_t budget = expert_budget(checkpoint, memory);
  if (plan.packed_expert_bytes <= budget) return;
  const auto sparse = std::count(c.moe->layers.begin(), c.moe->layers.end(), true);
  const std::int64_t expert = plan.packed_expert_bytes / (sparse * c.moe->experts);
  const std::int64_t kept = std::max<std::int64_t>(1, budget / expert);
  const double missing = 1.0 - static_cast<double>(kept) / static_cast<double>(sparse * c.moe->experts);
  const double read = missing * static_cast<double>(sparse * c.moe->experts_per_token * expert);
  line("experts fit", fmt::format("{} of {} ({} of {}); the others stay in the file. Were all used alike, a token would read {} of it",
                                  kept, sparse * c.moe->experts, human_bytes(budget), human_bytes(plan.packed_expert_bytes),
                                  human_bytes(static_cast<std::int64_t>(read))));
  const std::int64_t others = plan.packed_weight_bytes - plan.packed_expert_bytes;
  if (memory > 0 && others > memory) {
    line("too little", fmt::format("the other weights alone take {} of the {} given", human_bytes(others), human_bytes(memory)));
  }
}

void show_memory(const Checkpoint& checkpoint, const ShowOptions& options) {
  const DType kv_dtype = options.compute.kv_dtype(default_kv_dtype(checkpoint));
  const MemoryPlan plan = plan_memory(checkpoint, kv_dtype, 512);
  const std::int64_t context = options.context > 0 ? options.context : std::min<std::int64_t>(checkpoint.config().context_length, 4096);
  const std::int64_t kv_bytes = context * plan.kv_bytes_per_token;
  const std::int64_t weights = plan.packed_weight_bytes > 0 ? plan.packed_weight_bytes : plan.mapped_weight_bytes;
  line("memory", fmt::format("{} for a context of {} tokens: weights {}, cache {} ({} a token, {}), workspace {}",
                             human_bytes(weights + kv_bytes + plan.workspace_bytes), context, human_bytes(weights),
                             human_bytes(kv_bytes), human_bytes(plan.kv_bytes_per_token), dtype_name(kv_dtype),
                             human_bytes(plan.workspace_bytes)));
  if (checkpoint.config().moe) show_experts_in_memory(checkpoint, plan, options.compute.memory);
}

void show(const ShowOptions& options) {
  const std::filesystem::path path = find_model(options.model);
  const Checkpoint checkpoint(path);
  const ModelConfig& c = checkpoint.config();
  const ModelCard card = read_model_card(path, checkpoint.files());
  line("model", card.name.empty() ? printable(options.model, 200) : printable(card.name, 200));
  line("path", printable(path.string(), 300));
  line("architecture", fmt::format("{}: {} layers, hidden {}, MLP {}, vocabulary {}{}", c.family, c.layers, c.hidden_size,
                                   c.intermediate_size, c.vocab_size, c.tied_embeddings ? ", tied head" : ""));
  line("attention", attention_text(c));
  if (c.moe) line("experts", experts_text(c));
  line("rope", rope_text(c.rope));
  if (c.mtp_layers > 0) line("prediction", "one layer that drafts tokens for run --speculate");
  line("parameters", fmt::format("{:.3f} million", static_cast<double>(parameter_count(checkpoint)) * 1e-6));
  line("types", type_summary(checkpoint));
  line("files", fmt::format("{} in {} {} file{}", human_bytes(static_cast<std::int64_t>(checkpoint.files().total_bytes())),
                            checkpoint.files().files().size(), checkpoint.files().gguf() != nullptr ? "GGUF" : "safetensors",
                            checkpoint.files().files().size() == 1 ? "" : "s"));
  line("context", fmt::format("{} tokens", c.context_length));
  line("licence", card.license.empty() ? "not stated in the files" : printable(card.license, 200));
  if (!card.source.empty()) line("source", printable(card.source, 200));
  show_text(path);
  show_memory(checkpoint, options);
  if (options.metadata && checkpoint.files().gguf() != nullptr) {
    for (const GgufEntry& entry : checkpoint.files().gguf()->metadata()) {
      std::printf("%s = %s\n", printable(entry.key, 200).c_str(), checkpoint.files().gguf()->value_text(entry).c_str());
    }
  }
}

}  // namespace

void add_show_command(CLI::App& app, int&) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = app.add_subcommand("show", "What a model is and the memory that it needs, before loading it");
  add_model_argument(*command, options->model);
  command->add_option("--context", options->context, "Tokens of context to plan for (default: the model's, 4096 at most)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
      ->type_name("N");
  command->add_flag("--metadata", options->metadata, "List a GGUF file's metadata");
  add_compute_options(*command, options->compute);
  command->callback([options] { show(*options); });
}

}  // namespace sampan
