#include "options.h"

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <map>

#include "base/error.h"
#include "base/thread_pool.h"

namespace sampan {
namespace {

volatile std::sig_atomic_t g_interrupts = 0;

void exit_at_once(int) { ::_exit(kExitInterrupted); }

void on_interrupt(int signal) {
  g_interrupts = g_interrupts + 1;
  if (g_interrupts > 1) exit_at_once(signal);
}

void handle_interrupts(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(SIGINT, &action, nullptr);
}

void add_mla_option(CLI::App& command, ComputeOptions& options) {
  static const std::map<std::string, MlaMode> kModes = {
      {"absorbed", MlaMode::kAbsorbed}, {"expanded", MlaMode::kExpanded}, {"by-length", MlaMode::kByLength}};
  command
      .add_option("--mla", options.mla,
                  "How latent attention is computed: absorbed (default), expanded, or by-length, which expands long pieces of a "
                  "prompt and makes results depend in their last bits on how a text was cut into pieces")
      ->transform(CLI::CheckedTransformer(kModes))
      ->option_text("absorbed|expanded|by-length");
}

void add_memory_option(CLI::App& command, ComputeOptions& options) {
  command
      .add_option("--memory", options.memory,
                  "Memory to keep within, such as 4GB; experts that do not fit stay in the file (default: what is available)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 62))
      ->type_name("SIZE");
}

}  // namespace

const std::map<std::string, Bf16Products> kBf16Products = {{"exact", Bf16Products::kExact}, {"rounded", Bf16Products::kRounded}};

DType cache_type(std::string_view name) {
  if (name == "f32") return DType::kF32;
  return name == "f16" ? DType::kF16 : DType::kQ8_0;
}

int ComputeOptions::thread_count() const { return threads > 0 ? threads : default_thread_count(); }

DType ComputeOptions::kv_dtype(DType fallback) const {
  return kv_type.empty() ? fallback : cache_type(kv_type);
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Threads to compute with (default: all CPUs of this process)")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  command
      .add_option("--kv-type", options.kv_type,
                  "Type of the key-value cache: f32, f16, or q8_0, which takes half of f16 (default: as precise as the weights)")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->type_name("TYPE");
  add_mla_option(command, options);
  command
      .add_option("--bf16-products", options.bf16_products,
                  "How BF16 weights are multiplied: exact (float activations) or rounded (activations rounded to BF16 as on GPUs: faster where the "
                  "processor has products of BF16)")
      ->transform(CLI::CheckedTransformer(kBf16Products))
      ->option_text("exact|rounded");
  add_memory_option(command, options);
}

void add_model_argument(CLI::App& command, std::string& model) {
  command
      .add_option("MODEL", model,
                  "A folder with config.json and safetensors, a .gguf file, a name such as hf:Qwen/Qwen3-0.6B that was pulled, or nano")
      ->required();
}

std::vector<std::int32_t> parse_ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view piece = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    while (!piece.empty() && piece.front() == ' ') piece.remove_prefix(1);
    while (!piece.empty() && piece.back() == ' ') piece.remove_suffix(1);
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(piece.data(), piece.data() + piece.size(), id);
    if (error != std::errc() || end != piece.data() + piece.size() || id < 0) {
      fail(ErrorCode::kInvalidArgument, "--ids: \"{}\" is not a token id", printable(piece));
    }
    ids.push_back(id);
  }
  if (ids.empty()) fail(ErrorCode::kInvalidArgument, "--ids: no token id is given");
  return ids;
}

void exit_on_interrupt() { handle_interrupts(exit_at_once); }

void arm_interrupts() { handle_interrupts(on_interrupt); }

bool interrupted() { return g_interrupts > 0; }

void clear_interrupt() { g_interrupts = 0; }

}  // namespace sampan
