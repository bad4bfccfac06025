#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/memory.h"
#include "commands.h"
#include "engine/calibration.h"
#include "kernels/block_codes.h"
#include "models/gguf_export.h"
#include "models/load.h"
#include "options.h"
#include "progress_line.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"
#include "text/model_text.h"

namespace sampan {
namespace {

struct QuantizeOptions {
  std::string model, type, output;
  std::string text;  // to calibrate with; "" for none
  std::int64_t text_tokens = 32768;
  bool compensates = false;
  std::int64_t moments_memory = 0;  // bytes; 0 = half of what is available
  int threads = 0;
};

constexpr std::int64_t kCalibrationWindow = 512;

constexpr char kTypes[] =
    "F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K, Q4_K_M, Q4_K, Q3_K, Q2_K, Q5_1, Q5_0, Q4_1, Q4_0, IQ4_XS, IQ4_NL, MXFP4 (_M: with Q6_K where errors are felt most)";

// The tokenizer and the template of a folder, as GGUF carries them. A folder without a tokenizer gives a file without one.
void write_text(const std::filesystem::path& folder, const ModelConfig& config, GgufWriter& writer) {
  if (!std::filesystem::exists(folder / "tokenizer.json")) return;
  const GgufVocabulary vocabulary = read_gguf_vocabulary(folder, config.vocab_size);
  writer.add_string("tokenizer.ggml.model", "gpt2");
  writer.add_string("tokenizer.ggml.pre", vocabulary.pre);
  writer.add_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.add_i32s("tokenizer.ggml.token_type", vocabulary.token_types);
  writer.add_strings("tokenizer.ggml.merges", vocabulary.merges);
  const ModelText text = load_model_text(folder);
  if (config.bos_id) writer.add_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(*config.bos_id));
  if (!config.eos_ids.empty()) writer.add_u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(config.eos_ids.front()));
  writer.add_bool("tokenizer.ggml.add_bos_token", text.tokenizer->adds_bos());
  if (text.chat_template) writer.add_string("tokenizer.chat_template", text.chat_template->source());
}

// A text that the model reads to calibrate.
class CalibrationText {
 public:
  CalibrationText(const QuantizeOptions& options, const std::filesystem::path& path, ThreadPool& pool)
      : ids_(load_model_tokenizer(path)->encode(read_file(options.text, std::uint64_t{1} << 31), SpecialTokens::kParse)),
        model_(load_model(path, pool)),
        runner_(*model_, pool) {
    if (tokens() > options.text_tokens) ids_.resize(static_cast<std::size_t>(options.text_tokens));
    runner_.set_interrupt(interrupted);
  }

  std::int64_t tokens() const { return static_cast<std::int64_t>(ids_.size()); }

  Importance importance() {
    ProgressLine line;
    return measure_importance(runner_, kv_dtype(), ids_, kCalibrationWindow, shown_in(line));
  }
  ProductInputs inputs() { return find_product_inputs(runner_, kv_dtype(), ids_); }
  void add_to(InputMoments& moments) {
    ProgressLine line;
    measure_moments(runner_, kv_dtype(), ids_, kCalibrationWindow, moments, shown_in(line));
  }

 private:
  DType kv_dtype() const { return model_->default_kv_dtype(); }
  std::function<void(std::int64_t)> shown_in(ProgressLine& line) const {
    return [this, &line](std::int64_t done) { line.show("calibrated with {} of {} tokens", done, tokens()); };
  }

  std::vector<std::int32_t> ids_;
  std::unique_ptr<Model> model_;
  Runner runner_;
};

void say_uncompensated(const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::string some = printable(names.front());
  for (std::size_t i = 1; i < std::min<std::size_t>(names.size(), 3); ++i) some += ", " + printable(names[i]);
  std::fprintf(stderr, "sampan: %s: %s%s (%zu in all)\n", what, some.c_str(), names.size() > 3 ? ", …" : "", names.size());
}

void quantize(const QuantizeOptions& options) {
  const std::optional<MatrixTypes> types = matrix_types_named(options.type);
  if (!types) fail(ErrorCode::kInvalidArgument, "--to {}: not one of {}", printable(options.type), kTypes);
  if (options.compensates && !has_codes(types->type)) {
    fail(ErrorCode::kInvalidArgument, "--compensate: {} has no codes to choose", dtype_name(types->type));
  }
  const std::filesystem::path path = find_model(options.model);
  const Checkpoint checkpoint(path);
  ThreadPool pool(options.threads > 0 ? options.threads : default_thread_count());
  const GgufExport weights(checkpoint, *types);
  arm_interrupts();
  std::optional<CalibrationText> text;
  std::optional<Importance> importance;
  std::optional<Compensator> compensator;
  if (!options.text.empty()) importance = text.emplace(options, path, pool).importance();
  if (options.compensates) {
    const std::int64_t memory = options.moments_memory > 0 ? options.moments_memory : available_memory() / 2;
    ProductInputs inputs = text->inputs();
    if (text->tokens() < inputs.most_columns()) {
      std::fprintf(stderr, "sampan: the text has %lld tokens, fewer than the %lld columns of the widest matrix; more compensate better\n",
                   static_cast<long long>(text->tokens()), static_cast<long long>(inputs.most_columns()));
    }
    compensator.emplace(std::move(inputs), memory, [&](InputMoments& moments) { text->add_to(moments); }, pool);
    say_uncompensated("rounded without compensation", weights.uncompensated(*compensator));
  } else {
    text.reset();
  }
  GgufWriter writer(options.output);
  weights.write_metadata(writer);
  if (checkpoint.files().gguf() == nullptr) write_text(path, checkpoint.config(), writer);
  ProgressLine line;
  const Calibration calibration = {importance ? &*importance : nullptr, compensator ? &*compensator : nullptr};
  const auto unmet = weights.write_tensors(writer, pool, calibration, [&](std::int64_t done, std::int64_t total) {
    if (interrupted()) fail(ErrorCode::kCancelled, "interrupted");
    line.show("encoded {} of {} MB", done >> 20, total >> 20);
  });
  line.clear();
  say_uncompensated("met nothing but zeros, so rounded without compensation", unmet);
  writer.finish();
}

}  // namespace

void add_quantize_command(CLI::App& app, int&) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Write a model as GGUF with its matrices in another type");
  add_model_argument(*command, options->model);
  command->add_option("--to", options->type, kTypes)
      ->required()
      ->type_name("TYPE");
  command->add_option("--output", options->output, "The GGUF file to write")->required()->type_name("FILE.gguf");
  CLI::Option* text =
      command
          ->add_option("--calibrate", options->text,
                       "A text (UTF-8) like those that the model will meet: errors are weighed by what its columns see while it reads it")
          ->type_name("TEXT");
  command->add_option("--calibration-tokens", options->text_tokens, "Tokens of the text that are read at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
      ->needs(text)
      ->type_name("N")
      ->capture_default_str();
  CLI::Option* compensate =
      command
          ->add_flag("--compensate", options->compensates,
                     "Make good by the columns still to be rounded what rounding the others changes in the products with that text (GPTQ)")
          ->needs(text);
  command
      ->add_option("--moments-memory", options->moments_memory,
                   "Memory for what --compensate measures, such as 4GB: the text is read as often as it takes (default: half of what is available)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 62))
      ->needs(compensate)
      ->type_name("SIZE");
  command->add_option("--threads", options->threads, "Threads to encode with (default: all CPUs of this process)")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  command->callback([options] { quantize(*options); });
}

}  // namespace sampan
