#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "commands.h"
#include "json_lines.h"
#include "text/model_text.h"
#include "options.h"
#include "text/jinja/json.h"

namespace sampan {
namespace {

using jinja::Value;

struct RenderOptions {
  std::string model, messages, lines;
  std::vector<std::string> variables;
};

// {"messages": […], "tools": […], "variables": {…}}
struct Request {
  Value messages = Value::none();
  Value tools = Value::none();
  Value variables = Value::none();
};

Request parse_request(std::string_view json, const char* name) {
  const Value root = jinja::parse_json(nullptr, json, /*trusted=*/false, name);
  if (!root.is(jinja::Kind::kDict)) fail(ErrorCode::kInvalidData, "{}: not a JSON object with \"messages\"", name);
  Request request;
  const jinja::DictObject& object = root.as_dict();
  if (const Value* messages = object.find("messages")) request.messages = *messages;
  if (const Value* tools = object.find("tools")) request.tools = *tools;
  if (const Value* variables = object.find("variables")) request.variables = *variables;
  if (request.messages.is_none()) fail(ErrorCode::kInvalidData, "{}: \"messages\" is missing", name);
  return request;
}

// The templates of a model, each parsed when it is first asked for.
class Renderer {
 public:
  explicit Renderer(const std::filesystem::path& model) : templates_(load_model_templates(model)) {
    if (templates_.sources.empty()) fail(ErrorCode::kNotFound, "{}: the model has no chat template", printable(model.string(), 300));
  }

  std::string render(const Request& request) {
    const std::string& source = templates_.choose(!request.tools.is_none());
    auto parsed = parsed_.find(source);
    if (parsed == parsed_.end()) {
      ChatTemplateOptions options;
      options.special_tokens = templates_.special_tokens;
      parsed = parsed_.emplace(source, ChatTemplate::parse(source, options)).first;
    }
    return parsed->second.render(request.messages, request.tools, request.variables).text();
  }

 private:
  ChatTemplates templates_;
  std::map<std::string, ChatTemplate> parsed_;
};

Value variables_from_flags(const std::vector<std::string>& pairs) {
  std::string json = "{";
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) fail(ErrorCode::kInvalidArgument, "--set {}: not NAME=VALUE", printable(pair));
    json += (json.size() > 1 ? "," : "") + nlohmann::json(pair.substr(0, equals)).dump() + ":" + variable_json(pair.substr(equals + 1));
  }
  return jinja::parse_json(nullptr, json + "}", /*trusted=*/false, "--set");
}

void render_lines(Renderer& renderer, const std::string& file) {
  for_each_line(file, [&](const std::string& line) {
    nlohmann::json reply;
    try {
      reply = renderer.render(parse_request(line, "line"));
    } catch (const Error& error) {
      reply = nlohmann::json{{"error", error.what()}};
    }
    return reply.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
}

void render(const RenderOptions& options) {
  Renderer renderer(find_model(options.model));
  if (!options.lines.empty()) return render_lines(renderer, options.lines);
  if (options.messages.empty()) fail(ErrorCode::kInvalidArgument, "render needs --messages FILE or --lines FILE");
  Request request = parse_request(read_file(options.messages), options.messages.c_str());
  if (!options.variables.empty()) request.variables = variables_from_flags(options.variables);
  const std::string text = renderer.render(request);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(ErrorCode::kIo, "cannot write to standard output");
  }
}

}  // namespace

void add_render_command(CLI::App& app, int&) {
  auto options = std::make_shared<RenderOptions>();
  CLI::App* command = app.add_subcommand("render", "Conversations to prompts, by the model's chat template");
  add_model_argument(*command, options->model);
  CLI::Option* messages = command->add_option("--messages", options->messages, "A file with {\"messages\": […], \"tools\": […]}")->type_name("FILE");
  command->add_option("--set", options->variables, "A variable of the template: JSON where it parses, else a string; add_generation_prompt is false unless set; may be repeated")
      ->type_name("NAME=VALUE");
  command->add_option("--lines", options->lines, "A file (- for standard input) with one {\"messages\": …, \"tools\": …, \"variables\": {…}} a line; prints one JSON string or {\"error\": …} a line")
      ->type_name("FILE")
      ->excludes(messages);
  command->callback([options] { render(*options); });
}

}  // namespace sampan
