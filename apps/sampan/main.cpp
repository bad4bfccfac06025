// The sampan program: subcommands and the one place where errors become exit codes.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/error.h"
#include "commands.h"
#include "options.h"

namespace {

constexpr char kFooter[] =
    "First steps:\n"
    "  sampan run nano                      talk to the small model that ships with Sampan\n"
    "  sampan pull hf:Qwen/Qwen3-0.6B       fetch a model from Hugging Face\n"
    "  sampan show hf:Qwen/Qwen3-0.6B       what it is and the memory that it needs\n"
    "  sampan run hf:Qwen/Qwen3-0.6B        talk to it\n"
    "  sampan serve hf:Qwen/Qwen3-0.6B      serve it to applications (OpenAI, Anthropic, Ollama)\n"
    "`sampan COMMAND --help` explains a command.\n"
    "SAMPAN_ISA=reference|avx2|avxvnni|avx512|neon|i8mm forces an instruction set; results do not depend on it.";

int parse_and_run(int argc, char** argv) {
  int exit_code = EXIT_SUCCESS;
  CLI::App app{"Sampan runs open-weight language models inside your own walls.", "sampan"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "sampan " SAMPAN_VERSION);
  app.footer(kFooter);
  sampan::add_run_command(app, exit_code);
  sampan::add_serve_command(app, exit_code);
  sampan::add_show_command(app, exit_code);
  sampan::add_pull_command(app, exit_code);
  sampan::add_list_command(app, exit_code);
  sampan::add_rm_command(app, exit_code);
  sampan::add_verify_command(app, exit_code);
  sampan::add_generate_command(app, exit_code);
  sampan::add_logits_command(app, exit_code);
  sampan::add_tokenize_command(app, exit_code);
  sampan::add_detokenize_command(app, exit_code);
  sampan::add_render_command(app, exit_code);
  sampan::add_perplexity_command(app, exit_code);
  sampan::add_quantize_command(app, exit_code);
  sampan::add_bench_command(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "sampan: %s (see sampan --help)\n", error.what());
    return sampan::kExitWorld;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  sampan::exit_on_interrupt();
  try {
    return parse_and_run(argc, argv);
  } catch (const sampan::Error& error) {
    if (error.code() == sampan::ErrorCode::kCancelled) return sampan::kExitInterrupted;
    std::fprintf(stderr, "sampan: %s\n", error.what());
    return sampan::kExitWorld;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "sampan: out of memory\n");
    return sampan::kExitWorld;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sampan: internal error: %s; please report it\n", error.what());
    return sampan::kExitBug;
  }
}
