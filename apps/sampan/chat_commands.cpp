#include "chat_commands.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

#include "base/error.h"
#include "output_file.h"

namespace sampan {
namespace {

constexpr char kHelp[] =
    "/system TEXT       set the system message (without TEXT: remove it)\n"
    "/set NAME VALUE    temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty,\n"
    "                   seed, max_tokens, stop, stats (on, off); any other name is a variable of the chat template\n"
    "/set               show the settings\n"
    "/save FILE         write the conversation as JSON messages\n"
    "/clear             forget the conversation, keep the system message\n"
    "/bye               leave (or Ctrl-D)\n"
    "A message of several lines stands between two lines of \"\"\". Ctrl-C stops an answer and keeps what there is.\n";

double number(std::string_view name, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) {
    fail(ErrorCode::kInvalidArgument, "/set {}: \"{}\" is not a number", name, printable(text));
  }
  return value;
}

std::int64_t whole_number(std::string_view name, const std::string& text) {
  const double value = number(name, text);
  if (value < 0 || value > 9e15 || value != std::floor(value)) {
    fail(ErrorCode::kInvalidArgument, "/set {}: \"{}\" is not a whole number", name, printable(text));
  }
  return static_cast<std::int64_t>(value);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

using Setter = std::function<void(ChatSession::Options&, const std::string&)>;

Setter sampling_number(const char* name, double SamplingParams::*member) {
  return [name, member](ChatSession::Options& options, const std::string& value) {
    SamplingParams changed = options.sampling;
    changed.*member = number(name, value);
    check_sampling(changed);
    options.sampling = changed;
  };
}

const std::map<std::string, Setter, std::less<>>& setters() {
  static const std::map<std::string, Setter, std::less<>> kSetters = {
      {"temperature", sampling_number("temperature", &SamplingParams::temperature)},
      {"top_p", sampling_number("top_p", &SamplingParams::top_p)},
      {"min_p", sampling_number("min_p", &SamplingParams::min_p)},
      {"repetition_penalty", sampling_number("repetition_penalty", &SamplingParams::repetition_penalty)},
      {"presence_penalty", sampling_number("presence_penalty", &SamplingParams::presence_penalty)},
      {"frequency_penalty", sampling_number("frequency_penalty", &SamplingParams::frequency_penalty)},
      {"top_k", [](auto& options, const auto& value) { options.sampling.top_k = whole_number("top_k", value); }},
      {"seed", [](auto& options, const auto& value) { options.sampling.seed = static_cast<std::uint64_t>(whole_number("seed", value)); }},
      {"max_tokens", [](auto& options, const auto& value) { options.max_tokens = whole_number("max_tokens", value); }},
      {"stop", [](auto& options, const auto& value) {
         if (value.empty()) options.stop_strings.clear();
         else options.stop_strings.push_back(value);
       }},
  };
  return kSetters;
}

}  // namespace

bool ChatCommands::handle(const std::string& line) {
  if (line.empty() || line.front() != '/') return false;
  const std::size_t space = line.find_first_of(" \t");
  const std::string name = line.substr(0, space);
  const std::string_view arguments = space == std::string::npos ? std::string_view() : trimmed(std::string_view(line).substr(space));
  if (name == "/help" || name == "/?") {
    std::fputs(kHelp, stdout);
  } else if (name == "/bye" || name == "/exit" || name == "/quit") {
    is_done_ = true;
  } else if (name == "/clear") {
    session_.clear();
    std::puts("The conversation is empty.");
  } else if (name == "/system") {
    session_.set_system(std::string(arguments));
    std::puts(arguments.empty() ? "No system message." : "The system message is set.");
  } else if (name == "/set") {
    set(arguments);
  } else if (name == "/save") {
    save(std::string(arguments));
  } else {
    std::printf("%s is no command; /help lists them.\n", printable(name).c_str());
  }
  return true;
}

void ChatCommands::set(std::string_view arguments) {
  if (arguments.empty()) return show_settings();
  const std::size_t space = arguments.find_first_of(" \t");
  const std::string name(arguments.substr(0, space));
  const std::string value(space == std::string_view::npos ? std::string_view() : trimmed(arguments.substr(space)));
  if (name == "stats") {
    if (value != "on" && value != "off") fail(ErrorCode::kInvalidArgument, "/set stats: on or off");
    show_stats_ = value == "on";
  } else if (const auto setter = setters().find(name); setter != setters().end()) {
    setter->second(session_.options(), value);
  } else {
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(value, nullptr, false);
    session_.options().variables[name] = json.is_discarded() ? nlohmann::ordered_json(value) : json;
    std::printf("%s is passed to the chat template.\n", printable(name).c_str());
  }
}

void ChatCommands::show_settings() const {
  const ChatSession::Options& o = session_.options();
  const SamplingParams& s = o.sampling;
  std::printf("temperature %g, top_k %lld, top_p %g, min_p %g, repetition_penalty %g, presence_penalty %g, frequency_penalty %g, seed %llu\n",
              s.temperature, static_cast<long long>(s.top_k), s.top_p, s.min_p, s.repetition_penalty, s.presence_penalty,
              s.frequency_penalty, static_cast<unsigned long long>(s.seed));
  std::printf("max_tokens %lld%s, stats %s, template variables %s\n", static_cast<long long>(o.max_tokens),
              o.max_tokens == 0 ? " (no limit)" : "", show_stats_ ? "on" : "off", o.variables.dump().c_str());
  for (const std::string& stop : o.stop_strings) std::printf("stop \"%s\"\n", printable(stop).c_str());
}

void ChatCommands::save(const std::string& path) const {
  if (path.empty()) fail(ErrorCode::kInvalidArgument, "/save needs the name of a file");
  const nlohmann::ordered_json json = {{"messages", session_.messages()}};
  const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  OutputFile file(path);
  file.write(std::as_bytes(std::span(text.data(), text.size())));
  file.close();
  std::printf("%zu messages are in %s.\n", session_.messages().size(), printable(path, 300).c_str());
}

}  // namespace sampan
