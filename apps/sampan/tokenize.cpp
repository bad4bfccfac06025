#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "commands.h"
#include "json_lines.h"
#include "text/model_text.h"
#include "options.h"

namespace sampan {
namespace {

struct TokenizeOptions {
  std::string model, file, lines;
  std::optional<std::string> text;
  bool no_special = false;
};

struct DetokenizeOptions {
  std::string model, ids, file, lines;
  bool skip_special = false;
};

std::string ids_json(const std::vector<std::int32_t>& ids) { return nlohmann::json(ids).dump(); }

void tokenize(const TokenizeOptions& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = load_model_tokenizer(find_model(options.model));
  const SpecialTokens special = options.no_special ? SpecialTokens::kPlainText : SpecialTokens::kParse;
  if (!options.lines.empty()) {
    for_each_json_line(options.lines, [&](const nlohmann::json& line) {
      if (!line.is_string()) fail(ErrorCode::kInvalidData, "not a JSON string");
      return ids_json(tokenizer->encode(line.get_ref<const std::string&>(), special));
    });
    return;
  }
  std::string text;
  if (options.text) {
    text = *options.text;
  } else if (!options.file.empty()) {
    text = read_file(options.file, std::uint64_t{1} << 31);
  } else {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  std::printf("%s\n", ids_json(tokenizer->encode(text, special)).c_str());
}

std::vector<std::int32_t> ids_of(const nlohmann::json& line) {
  if (!line.is_array()) fail(ErrorCode::kInvalidData, "not a JSON array of token ids");
  std::vector<std::int32_t> ids;
  for (const nlohmann::json& id : line) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > INT32_MAX) {
      fail(ErrorCode::kInvalidData, "{} is not a token id", printable(id.dump()));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

// Bytes that are no UTF-8 cannot stand in a JSON string; they become U+FFFD there, and stay as they are in plain output.
void detokenize(const DetokenizeOptions& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = load_model_tokenizer(find_model(options.model));
  if (!options.lines.empty()) {
    for_each_json_line(options.lines, [&](const nlohmann::json& line) {
      return nlohmann::json(tokenizer->decode(ids_of(line), options.skip_special))
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    });
    return;
  }
  std::string text;
  if (!options.ids.empty()) {
    text = options.ids;
  } else if (!options.file.empty()) {
    text = read_file(options.file, std::uint64_t{1} << 31);
  } else {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  const std::vector<std::int32_t> ids = json.is_array() ? ids_of(json) : parse_ids(text);
  const std::string bytes = tokenizer->decode(ids, options.skip_special);
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  if (std::fflush(stdout) != 0) fail(ErrorCode::kIo, "cannot write to standard output");
}

}  // namespace

void add_tokenize_command(CLI::App& app, int&) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids, as a JSON array; no BOS is added");
  add_model_argument(*command, options->model);
  CLI::Option* text = command->add_option("TEXT", options->text, "The text; without it and the flags below, standard input is read");
  CLI::Option* file = command->add_option("--file", options->file, "Take the text from a file")->type_name("FILE");
  CLI::Option* lines = command->add_option("--lines", options->lines, "A file (- for standard input) with one JSON string a line; prints one array a line")->type_name("FILE");
  text->excludes(file)->excludes(lines);
  file->excludes(lines);
  command->add_flag("--no-special", options->no_special, "Special and added tokens written in the text are plain text");
  command->callback([options] { tokenize(*options); });
}

void add_detokenize_command(CLI::App& app, int&) {
  auto options = std::make_shared<DetokenizeOptions>();
  CLI::App* command = app.add_subcommand("detokenize", "Token ids to text");
  add_model_argument(*command, options->model);
  CLI::Option* ids = command->add_option("IDS", options->ids, "A JSON array, or ids separated by commas; without it and the flags below, standard input is read");
  CLI::Option* file = command->add_option("--file", options->file, "Take the ids from a file")->type_name("FILE");
  CLI::Option* lines = command->add_option("--lines", options->lines, "A file (- for standard input) with one JSON array a line; prints one JSON string a line")->type_name("FILE");
  ids->excludes(file)->excludes(lines);
  file->excludes(lines);
  command->add_flag("--skip-special", options->skip_special, "Leave special tokens out");
  command->callback([options] { detokenize(*options); });
}

}  // namespace sampan
