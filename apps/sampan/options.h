#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/load.h"
#include "tensor/dtype.h"

namespace sampan {

// The type that "f32", "f16" or "q8_0" names, in which a key-value cache is kept.
DType cache_type(std::string_view name);

// Flags of every command that computes.
struct ComputeOptions {
  int threads = 0;      // 0 = all CPUs that this process may use
  std::string kv_type;  // "" or one that cache_type() knows
  std::int64_t memory = 0;  // bytes to keep within; 0 = what the system has available
  MlaMode mla = MlaMode::kAbsorbed;
  Bf16Products bf16_products = Bf16Products::kExact;

  int thread_count() const;
  // The cache type asked for, or the fallback.
  DType kv_dtype(DType fallback) const;
  LoadOptions load_options() const { return {memory, Prediction::kLeaveOut, mla, bf16_products}; }
};
void add_compute_options(CLI::App& command, ComputeOptions& options);

// The MODEL argument, described once.
void add_model_argument(CLI::App& command, std::string& model);

// "1,2,3" → ids. Throws Error kInvalidArgument naming the piece that is not an id.
std::vector<std::int32_t> parse_ids(std::string_view text);

// Where MODEL lies: a folder or file that exists, hf:ORG/NAME or ms:ORG/NAME or ORG/NAME in the local store or an existing Hugging
// Face cache, or the name of a model that ships with the program. Throws Error kNotFound saying what was looked for.
std::filesystem::path find_model(const std::string& name);

// Makes Ctrl-C end the program with exit code 130 at once; the first thing that main does.
void exit_on_interrupt();
// From here on Ctrl-C asks instead: interrupted() is true from the first one on, until it is cleared. A second one before that ends
// the program.
void arm_interrupts();
bool interrupted();
void clear_interrupt();

inline constexpr int kExitBug = 1;
inline constexpr int kExitWorld = 2;
inline constexpr int kExitInterrupted = 130;

}  // namespace sampan
