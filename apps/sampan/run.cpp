#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "chat_commands.h"
#include "chat_session.h"
#include "commands.h"
#include "line_editor.h"
#include "text/model_text.h"
#include "models/load.h"
#include "options.h"
#include "remote_chat.h"
#include "sampling_options.h"
#include "speculation_flags.h"
#include "template_variables.h"

namespace sampan {
namespace {

struct RunOptions {
  std::string model, system, server, api_key;
  std::optional<std::string> prompt;
  std::int64_t max_tokens = 0;
  std::vector<std::string> stop_strings, variables;
  bool stats = false, hide_reasoning = false, trust_conversation = false, ignore_eos = false;
  SamplingOptions sampling;
  SpeculationFlags speculation;
  ComputeOptions compute;
};

// Prints an answer as it comes; reasoning dimmed on a terminal.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(bool hide_reasoning) : is_terminal_(::isatty(STDOUT_FILENO) == 1), hide_(hide_reasoning) {}

  void operator()(std::string_view text, bool reasoning) {
    if (reasoning && hide_) return;
    if (reasoning != dimmed_) {
      if (is_terminal_) std::fputs(reasoning ? "\033[2m" : "\033[0m", stdout);
      else std::fputs(reasoning ? "<think>" : "</think>", stdout);
      dimmed_ = reasoning;
    }
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (std::fflush(stdout) != 0) fail(ErrorCode::kIo, "cannot write to standard output");
  }
  void end() {
    if (dimmed_ && is_terminal_) std::fputs("\033[0m", stdout);
    std::fputs("\n", stdout);
    std::fflush(stdout);
    dimmed_ = false;
  }

 private:
  bool is_terminal_;
  bool hide_;
  bool dimmed_ = false;
};

// "; 31 of 40 drafted tokens held, drafting is on"
std::string drafts_text(const SpeculationStats& stats, const SpeculativeDecoder& decoder) {
  if (!decoder.has_drafter()) return "";
  return fmt::format("; {} of {} drafted tokens held, drafting is {}", stats.accepted, stats.proposed, decoder.is_on() ? "on" : "off");
}

void print_stats(const AnswerStats& stats, const SpeculativeDecoder& decoder, const Model& model) {
  const double prefill = stats.prefill_seconds > 0 ? static_cast<double>(stats.prompt_tokens) / stats.prefill_seconds : 0;
  const auto per_second = [&](std::int64_t count) {
    return stats.decode_seconds > 0 && count > 0 ? static_cast<double>(count) / stats.decode_seconds : 0.0;
  };
  // Weights are read once a step, however many tokens it gives.
  const double steps = per_second(stats.speculation.drafted_steps + stats.speculation.plain_steps);
  std::fprintf(stderr, "[%lld prompt tokens (+%lld cached), %.1f tokens/s; %lld generated, %.1f tokens/s, %.2f GB/s%s]\n",
               static_cast<long long>(stats.prompt_tokens), static_cast<long long>(stats.cached_tokens), prefill,
               static_cast<long long>(stats.generated_tokens), per_second(stats.generated_tokens - 1),
               steps * static_cast<double>(model.bytes_per_token()) * 1e-9, drafts_text(stats.speculation, decoder).c_str());
}

// Everything that a conversation in the terminal or one answer needs, loaded.
struct Chat {
  explicit Chat(const RunOptions& options)
      : path(find_model(options.model)),
        pool(options.compute.thread_count()),
        text(load_model_text(path)),
        model(load_model(path, pool, options.speculation.load_options(options.compute))),
        defaults(generation_defaults(path)),
        session(*model, text, options.ignore_eos ? std::vector<std::int32_t>{} : stop_ids(), options.compute.kv_dtype(model->default_kv_dtype()),
                options.speculation.options(), pool) {
    ChatSession::Options& o = session.options();
    o.sampling = options.sampling.resolve(defaults);
    check_sampling(o.sampling);
    o.max_tokens = options.max_tokens;
    o.stop_strings = options.stop_strings;
    o.variables = parse_template_variables(options.variables);
    o.trust_conversation = options.trust_conversation;
    session.set_system(options.system);
  }

  std::vector<std::int32_t> stop_ids() const {
    std::vector<std::int32_t> ids = model->config().eos_ids;
    ids.insert(ids.end(), defaults.eos_ids.begin(), defaults.eos_ids.end());
    if (text.tokenizer->eos_id()) ids.push_back(*text.tokenizer->eos_id());
    if (text.tokenizer->eot_id()) ids.push_back(*text.tokenizer->eot_id());
    return ids;
  }

  std::filesystem::path path;
  ThreadPool pool;
  ModelText text;
  std::unique_ptr<Model> model;
  GenerationDefaults defaults;
  ChatSession session;
};

bool answer(Chat& chat, const std::string& prompt, bool stats, bool hide_reasoning) {
  AnswerPrinter printer(hide_reasoning);
  const AnswerStats result = chat.session.ask(prompt, interrupted, std::ref(printer));
  printer.end();
  if (stats) print_stats(result, chat.session.decoder(), *chat.model);
  return result.was_interrupted;
}

// One line, or several between two lines of """.
std::optional<std::string> read_message(LineEditor& editor) {
  std::optional<std::string> line = editor.read(">>> ");
  if (!line || !line->starts_with("\"\"\"")) return line;
  std::string text = line->substr(3);
  while (!text.ends_with("\"\"\"")) {
    line = editor.read("... ");
    if (!line) return std::nullopt;
    text += (text.empty() ? "" : "\n") + *line;
  }
  return text.substr(0, text.size() - 3);
}

void converse(Chat& chat, const RunOptions& options) {
  ChatCommands commands(chat.session, options.stats);
  LineEditor editor(default_history_file());
  std::printf("%s is ready. /help lists commands; Ctrl-C stops an answer, Ctrl-D leaves.\n", printable(options.model, 200).c_str());
  arm_interrupts();
  while (!commands.is_done()) {
    const std::optional<std::string> line = read_message(editor);
    if (!line) break;
    if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
    try {
      if (commands.handle(*line)) continue;
      answer(chat, *line, commands.shows_stats(), options.hide_reasoning);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) std::fprintf(stderr, "sampan: %s\n", error.what());
    }
    clear_interrupt();
  }
}

RemoteChat remote_chat(const RunOptions& options) {
  RemoteChat::Options remote;
  remote.url = options.server;
  while (remote.url.ends_with('/')) remote.url.pop_back();
  if (remote.url.find("://") == std::string::npos) remote.url = "http://" + remote.url;
  remote.key = options.api_key;
  remote.model = options.model;
  remote.sampling = options.sampling;
  remote.greedy = options.sampling.greedy;
  remote.max_tokens = options.max_tokens;
  remote.stop_strings = options.stop_strings;
  remote.variables = parse_template_variables(options.variables);
  remote.ignore_eos = options.ignore_eos;
  RemoteChat chat(std::move(remote));
  chat.set_system(options.system);
  return chat;
}

// Of the conversation's commands, those that need no model here.
void converse(RemoteChat& chat, const RunOptions& options) {
  LineEditor editor(default_history_file());
  std::printf("%s on %s. /clear begins anew; Ctrl-C stops an answer, Ctrl-D leaves.\n", printable(options.model, 200).c_str(), printable(options.server, 200).c_str());
  arm_interrupts();
  while (const std::optional<std::string> line = read_message(editor)) {
    if (line->find_first_not_of(" \t\n") == std::string::npos) continue;
    if (*line == "/bye" || *line == "/exit") return;
    if (*line == "/clear") {
      chat.clear();
      continue;
    }
    try {
      AnswerPrinter printer(options.hide_reasoning);
      chat.ask(*line, interrupted, std::ref(printer));
      printer.end();
    } catch (const Error& error) {
      std::fprintf(stderr, "sampan: %s\n", error.what());
    }
    clear_interrupt();
  }
}

void run(const RunOptions& options, int& exit_code) {
  if (!options.server.empty() && options.trust_conversation) {
    fail(ErrorCode::kInvalidArgument, "--trust-conversation: a server takes no special tokens from messages");
  }
  if (!options.prompt && ::isatty(STDIN_FILENO) == 1) {
    if (!options.server.empty()) {
      RemoteChat chat = remote_chat(options);
      return converse(chat, options);
    }
    Chat chat(options);
    converse(chat, options);
    return;
  }
  std::string prompt;
  if (options.prompt) {
    prompt = *options.prompt;
  } else {
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    while (prompt.ends_with('\n') || prompt.ends_with('\r')) prompt.pop_back();
  }
  if (prompt.empty()) fail(ErrorCode::kInvalidArgument, "the prompt is empty: give it as an argument or on standard input");
  if (!options.server.empty()) {
    RemoteChat chat = remote_chat(options);
    arm_interrupts();
    AnswerPrinter printer(options.hide_reasoning);
    if (chat.ask(prompt, interrupted, std::ref(printer))) exit_code = kExitInterrupted;
    printer.end();
    return;
  }
  Chat chat(options);
  arm_interrupts();
  if (answer(chat, prompt, options.stats, options.hide_reasoning)) exit_code = kExitInterrupted;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Talk to a model, or get one answer when a prompt is given or piped in");
  add_model_argument(*command, options->model);
  command->add_option("PROMPT", options->prompt, "The question; without it, a conversation in the terminal or standard input");
  command->add_option("--system", options->system, "System message")->type_name("TEXT");
  command->add_option("--max-tokens", options->max_tokens, "Tokens to generate at most (default: until the model ends or the context is full)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))
      ->type_name("N");
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after an end-of-text token");
  command->add_option("--stop", options->stop_strings, "End the answer before this text; may be repeated")->type_name("TEXT");
  command->add_option("--set", options->variables, "A variable of the chat template, such as enable_thinking=false; may be repeated")->type_name("NAME=VALUE");
  command->add_flag("--stats", options->stats, "Print tokens, tokens/s and GB/s after each answer");
  command->add_flag("--hide-reasoning", options->hide_reasoning, "Do not show what the model thinks before it answers");
  command->add_flag("--trust-conversation", options->trust_conversation, "Parse special tokens written in messages, as transformers does");
  command->add_option("--server", options->server, "Talk to the server at this URL instead, which serves MODEL (see sampan serve)")->type_name("URL");
  command->add_option("--api-key", options->api_key, "Key for --server")->envname("SAMPAN_API_KEY")->type_name("KEY");
  add_sampling_options(*command, options->sampling);
  add_speculation_options(*command, options->speculation);
  add_compute_options(*command, options->compute);
  command->callback([options, &exit_code] { run(*options, exit_code); });
}

}  // namespace sampan
