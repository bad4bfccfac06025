#include <memory>
#include <optional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "commands.h"
#include "engine/calibration.h"
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

// Which columns matter while the model reads the text.
Importance calibrate(const QuantizeOptions& options, const std::filesystem::path& path, ThreadPool& pool) {
  std::vector<std::int32_t> ids =
      load_model_tokenizer(path)->encode(read_file(options.text, std::uint64_t{1} << 31), SpecialTokens::kParse);
  if (static_cast<std::int64_t>(ids.size()) > options.text_tokens) ids.resize(static_cast<std::size_t>(options.text_tokens));
  const std::unique_ptr<Model> model = load_model(path, pool);
  Runner runner(*model, pool);
  runner.set_interrupt(interrupted);
  ProgressLine line;
  Importance importance = measure_importance(runner, model->default_kv_dtype(), ids, kCalibrationWindow,
                                             [&](std::int64_t done) { line.show("calibrated with {} of {} tokens", done, ids.size()); });
  line.clear();
  return importance;
}

void quantize(const QuantizeOptions& options) {
  const std::optional<MatrixTypes> types = matrix_types_named(options.type);
  if (!types) fail(ErrorCode::kInvalidArgument, "--to {}: not one of {}", printable(options.type), kTypes);
  const std::filesystem::path path = find_model(options.model);
  const Checkpoint checkpoint(path);
  ThreadPool pool(options.threads > 0 ? options.threads : default_thread_count());
  const GgufExport weights(checkpoint, *types);
  arm_interrupts();
  std::optional<Importance> importance;
  if (!options.text.empty()) importance = calibrate(options, path, pool);
  GgufWriter writer(options.output);
  weights.write_metadata(writer);
  if (checkpoint.files().gguf() == nullptr) write_text(path, checkpoint.config(), writer);
  ProgressLine line;
  weights.write_tensors(writer, pool, importance ? &*importance : nullptr, [&](std::int64_t done, std::int64_t total) {
    if (interrupted()) fail(ErrorCode::kCancelled, "interrupted");
    line.show("encoded {} of {} MB", done >> 20, total >> 20);
  });
  line.clear();
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
  command->add_option("--threads", options->threads, "Threads to encode with (default: all CPUs of this process)")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  command->callback([options] { quantize(*options); });
}

}  // namespace sampan
