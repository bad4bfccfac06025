#include "serve_settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "options.h"
#include "serve_file.h"
#include "serve_trace.h"

namespace sampan {
namespace {

using std::chrono::milliseconds;

std::int64_t number(const std::string& text, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) fail(ErrorCode::kInvalidArgument, "\"{}\" is not a whole number", printable(text));
  if (value < low || value > high) fail(ErrorCode::kInvalidArgument, "{} is not in {} to {}", value, low, high);
  return value;
}

// A number with a unit of the table.
std::int64_t with_unit(const std::string& text, const std::vector<std::pair<std::string, std::int64_t>>& units, const char* what) {
  const std::size_t digits = std::min(text.size(), text.find_first_not_of("0123456789"));
  const std::string unit = text.substr(digits);
  for (const auto& [name, factor] : units) {
    if (digits > 0 && unit == name) return number(text.substr(0, digits), 0, (std::int64_t{1} << 60) / factor) * factor;
  }
  fail(ErrorCode::kInvalidArgument, "\"{}\" is not {}", printable(text), what);
}

std::int64_t size(const std::string& text) {
  return with_unit(text, {{"", 1}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}},
                   "a size such as 64MiB or 4GB");
}

milliseconds time(const std::string& text) {
  return milliseconds(with_unit(text, {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}}, "a time such as 500ms, 30s, 5m or 1h"));
}

bool yes_or_no(const std::string& text) {
  if (text == "yes" || text == "true" || text == "1") return true;
  if (text == "no" || text == "false" || text == "0") return false;
  fail(ErrorCode::kInvalidArgument, "\"{}\" is neither yes nor no", printable(text));
}

std::string one_of(const std::string& text, const std::vector<std::string>& values) {
  if (std::find(values.begin(), values.end(), text) != values.end()) return text;
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "" : ", ") + value;
  fail(ErrorCode::kInvalidArgument, "\"{}\" is not one of {}", printable(text), list);
}

std::string text_of(milliseconds value) {
  if (value.count() % 1000 != 0 || value.count() == 0) return fmt::format("{}ms", value.count());
  return fmt::format("{}s", value.count() / 1000);
}
std::string size_text(std::int64_t bytes) {
  if (bytes != 0 && bytes % (1 << 20) == 0) return fmt::format("{}MiB", bytes >> 20);
  if (bytes != 0 && bytes % (1 << 10) == 0) return fmt::format("{}KiB", bytes >> 10);
  return std::to_string(bytes);
}

template <typename Member>
Setting text(const char* key, const char* help, Member member) {
  return {key, "text", help, [=](ServeSettings& s, const std::string& v) { member(s) = v; }, [=](const ServeSettings& s) { return member(const_cast<ServeSettings&>(s)); }};
}
template <typename Member>
Setting count(const char* key, const char* help, std::int64_t low, std::int64_t high, Member member) {
  return {key, "number", help,
          [=](ServeSettings& s, const std::string& v) { member(s) = static_cast<std::remove_reference_t<decltype(member(s))>>(number(v, low, high)); },
          [=](const ServeSettings& s) { return std::to_string(member(const_cast<ServeSettings&>(s))); }};
}
template <typename Member>
Setting bytes(const char* key, const char* help, Member member) {
  return {key, "size", help,
          [=](ServeSettings& s, const std::string& v) { member(s) = static_cast<std::remove_reference_t<decltype(member(s))>>(size(v)); },
          [=](const ServeSettings& s) { return size_text(static_cast<std::int64_t>(member(const_cast<ServeSettings&>(s)))); }};
}
template <typename Member>
Setting duration(const char* key, const char* help, Member member) {
  return {key, "time", help, [=](ServeSettings& s, const std::string& v) { member(s) = time(v); },
          [=](const ServeSettings& s) { return text_of(member(const_cast<ServeSettings&>(s))); }};
}
template <typename Member>
Setting flag(const char* key, const char* help, Member member) {
  return {key, "yes|no", help, [=](ServeSettings& s, const std::string& v) { member(s) = yes_or_no(v); },
          [=](const ServeSettings& s) { return member(const_cast<ServeSettings&>(s)) ? "yes" : "no"; }};
}
template <typename Member>
Setting list(const char* key, const char* help, Member member) {
  return {key, "list", help, [=](ServeSettings& s, const std::string& v) { member(s).push_back(v); }, [](const ServeSettings&) { return std::string(); }};
}

// A setting that a standard's variables give as well.
Setting also(std::vector<std::string> variables, Setting setting) {
  setting.standard_variables = std::move(variables);
  return setting;
}

// OpenTelemetry's variables have bare milliseconds.
milliseconds time_or_milliseconds(const std::string& text) {
  const bool is_bare = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return time(is_bare ? text + "ms" : text);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

milliseconds keep_alive_time(const std::string& value) { return value == "forever" ? milliseconds(-1) : time(value); }

std::vector<Setting> make_settings() {
  using S = ServeSettings;
  return {
      text("host", "Address to listen on. Wider than this machine only with keys", [](S& s) -> auto& { return s.listen.host; }),
      count("port", "Port to listen on; 0: any free one", 0, 65535, [](S& s) -> auto& { return s.listen.port; }),
      text("unix_socket", "Path of a Unix socket to listen on in place of host and port", [](S& s) -> auto& { return s.listen.unix_path; }),
      list("api_key", "A key that requests must carry; may be repeated", [](S& s) -> auto& { return s.api_keys; }),
      text("keys_file", "File with a key a line, or a name and a key; read again on SIGHUP", [](S& s) -> auto& { return s.keys_file; }),
      text("tls_certificate", "PEM file with the certificate chain; makes the server speak TLS", [](S& s) -> auto& { return s.tls_certificate; }),
      text("tls_key", "PEM file with the certificate's private key", [](S& s) -> auto& { return s.tls_key; }),
      list("cors_origin", "Origin whose pages may call the server, such as https://app.example, or *; may be repeated. Without keys, pages of others and Hosts that are not this machine are refused", [](S& s) -> auto& { return s.cors_origins; }),
      count("threads", "Threads to compute with; 0: all CPUs of this process", 0, 256, [](S& s) -> auto& { return s.host.threads; }),
      bytes("memory", "Memory that loaded models may take; 0: nine tenths of what is available at start", [](S& s) -> auto& { return s.host.memory; }),
      bytes("kv_memory", "Memory of a model's key-value cache; 0: as the plan finds fit", [](S& s) -> auto& { return s.kv_memory; }),
      {"kv_type", "text", "Type of the key-value cache: f32, f16, q8_0 (8 bits, half of f16), or auto, which keeps the precision of the weights",
       [](S& s, const std::string& v) { s.kv_type = one_of(v, {"auto", "f32", "f16", "q8_0"}); }, [](const S& s) { return s.kv_type.empty() ? "auto" : s.kv_type; }},
      {"bf16_products", "text", "How BF16 weights are multiplied: exact (float activations), or rounded (activations rounded to BF16 as on GPUs: faster where the processor has products of BF16)",
       [](S& s, const std::string& v) { s.host.bf16_products = one_of(v, {"exact", "rounded"}) == "rounded" ? Bf16Products::kRounded : Bf16Products::kExact; },
       [](const S& s) { return s.host.bf16_products == Bf16Products::kRounded ? "rounded" : "exact"; }},
      {"keep_alive", "time", "How long a model stays in memory after its last use, or forever",
       [](S& s, const std::string& v) { s.host.keep_alive = keep_alive_time(v); },
       [](const S& s) { return s.host.keep_alive.count() < 0 ? "forever" : text_of(s.host.keep_alive); }},
      flag("preload", "Load the first model before the server says that it is ready", [](S& s) -> auto& { return s.preload; }),
      count("max_running", "Texts of a model that are computed side by side", 1, 4096, [](S& s) -> auto& { return s.host.engine.max_running; }),
      count("max_waiting", "Requests of a model that may wait beyond them; more get 503", 0, 1 << 20, [](S& s) -> auto& { return s.host.engine.max_waiting; }),
      count("max_step_tokens", "Tokens of one step at most", 16, 65536, [](S& s) -> auto& { return s.host.engine.max_step_tokens; }),
      duration("prefill_slice", "While texts are being written, a step takes no more of a prompt than about this long takes to read", [](S& s) -> auto& { return s.host.engine.prefill_slice; }),
      flag("prefix_cache", "Keep what was read for texts that begin alike (within a key's own)", [](S& s) -> auto& { return s.host.engine.prefix_cache; }),
      duration("request_time", "Longest time of a request; 0ms: no limit", [](S& s) -> auto& { return s.request_time; }),
      {"sampling_defaults", "text", "Where sampling comes from that a request leaves open: model (generation_config.json) or api (each API's own defaults)",
       [](S& s, const std::string& v) { s.sampling_defaults = one_of(v, {"model", "api"}); }, [](const S& s) { return s.sampling_defaults; }},
      bytes("body_limit", "Size of a request's body at most", [](S& s) -> auto& { return s.limits.body; }),
      bytes("head_limit", "Size of a request's head at most", [](S& s) -> auto& { return s.limits.head; }),
      duration("head_time", "Time for a request's head to arrive", [](S& s) -> auto& { return s.limits.head_time; }),
      duration("body_stall", "Time without progress of a request's body", [](S& s) -> auto& { return s.limits.body_stall; }),
      duration("idle_time", "Time that an idle connection is kept", [](S& s) -> auto& { return s.limits.keep_alive; }),
      duration("write_stall", "Time that a client may leave an answer untaken", [](S& s) -> auto& { return s.limits.write_stall; }),
      count("max_connections", "Connections that are open at the same time", 1, 1 << 20, [](S& s) -> auto& { return s.limits.connections; }),
      duration("drain_time", "On SIGTERM, how long running requests may take to finish", [](S& s) -> auto& { return s.drain_time; }),
      {"log", "text", "What is logged to standard error: json (a line an event and a request, never its content) or none",
       [](S& s, const std::string& v) { s.log = one_of(v, {"json", "none"}); }, [](const S& s) { return s.log; }},
      also({"OTEL_EXPORTER_OTLP_ENDPOINT"}, text("otlp_endpoint", "URL of an OpenTelemetry collector that traces are sent to, below it at /v1/traces (OTLP/HTTP with JSON); none: no traces",
                                                 [](S& s) -> auto& { return s.trace.endpoint; })),
      also({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}, text("otlp_traces_endpoint", "The same for traces alone: the whole URL, used as it is", [](S& s) -> auto& { return s.trace.traces_endpoint; })),
      also({"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"},
           text("otlp_headers", "Headers for the collector: name=value,name=value with values percent-encoded", [](S& s) -> auto& { return s.trace.headers; })),
      also({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"},
           text("otlp_protocol", "How the collector is spoken to; http/json is the only one", [](S& s) -> auto& { return s.trace.protocol; })),
      also({"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"},
           {"otlp_timeout", "time", "Longest time of one request to the collector; a bare number is milliseconds",
            [](S& s, const std::string& v) { s.trace.timeout = time_or_milliseconds(v); }, [](const S& s) { return text_of(s.trace.timeout); }}),
      also({"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
           text("otlp_certificate", "PEM file of the authorities that the collector's certificate is checked with; none: the system's", [](S& s) -> auto& { return s.trace.certificate; })),
      also({"OTEL_TRACES_EXPORTER"}, text("otel_traces_exporter", "otlp, or none for no traces whatever the other settings say", [](S& s) -> auto& { return s.trace.exporter; })),
      also({"OTEL_SERVICE_NAME"}, {"otel_service_name", "text", "What the server is called in traces", [](S& s, const std::string& v) { s.trace.service_name = v; },
                                   [](const S& s) { return s.trace.service_name.empty() ? "sampan" : s.trace.service_name; }}),
      also({"OTEL_RESOURCE_ATTRIBUTES"}, text("otel_resource_attributes", "What traces say about the server besides: name=value,name=value", [](S& s) -> auto& { return s.trace.resource_attributes; })),
      also({"OTEL_TRACES_SAMPLER"}, text("otel_traces_sampler", "Which traces are recorded: always_on, always_off, traceidratio, or with parentbased_ before it: those that the caller records",
                                         [](S& s) -> auto& { return s.trace.sampler; })),
      also({"OTEL_TRACES_SAMPLER_ARG"}, text("otel_traces_sampler_arg", "Part of the traces that traceidratio records, 0 to 1", [](S& s) -> auto& { return s.trace.sampler_argument; })),
      also({"OTEL_SDK_DISABLED"}, {"otel_sdk_disabled", "yes|no", "No traces, whatever the other settings say", [](S& s, const std::string& v) { s.trace.is_disabled = yes_or_no(lower(v)); },
                                   [](const S& s) { return s.trace.is_disabled ? "yes" : "no"; }}),
  };
}

// The environment's variable for a setting; empty ones of a standard count as not set.
std::optional<std::string> variable_set(const Setting& setting) {
  if (std::getenv(setting.variable().c_str()) != nullptr) return setting.variable();
  for (const std::string& name : setting.standard_variables) {
    const char* const value = std::getenv(name.c_str());
    if (value != nullptr && *value != '\0') return name;
  }
  return std::nullopt;
}

// "a,b" → a, b.
std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream pieces(text);
  for (std::string piece; std::getline(pieces, piece, ',');) parts.push_back(piece);
  return parts;
}

const Setting& find_setting(const std::string& key, const std::string& where) {
  for (const Setting& setting : serve_settings()) {
    if (setting.key == key) return setting;
  }
  fail(ErrorCode::kInvalidArgument, "{}: there is no setting \"{}\"", where, printable(key));
}

void apply(const Setting& setting, const std::vector<std::string>& values, const std::string& where, ServeSettings& settings) {
  try {
    for (const std::string& value : values) setting.set(settings, value);
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "{}: {}", where, error.what());
  }
}

// NAME=MODEL, or MODEL under the name that it goes by.
ModelSpec model_of(const std::string& text) {
  ModelSpec spec;
  const std::size_t equals = text.find('=');
  std::error_code ignored;
  const bool has_name = equals != std::string::npos && equals > 0 && !std::filesystem::exists(text, ignored);
  const std::string model = has_name ? text.substr(equals + 1) : text;
  spec.path = find_model(model);
  if (has_name) {
    spec.name = text.substr(0, equals);
  } else if (std::filesystem::exists(model, ignored)) {
    std::filesystem::path path = std::filesystem::weakly_canonical(model);
    spec.name = path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
  } else {
    const std::size_t colon = model.find(':');
    spec.name = colon == std::string::npos ? model : model.substr(colon + 1);
  }
  return spec;
}

ModelSpec model_of(const ModelTable& table, const std::string& file) {
  if (table.model.empty()) fail(ErrorCode::kInvalidArgument, "{}: a [[model]] has no model", file);
  ModelSpec spec = model_of(table.name.empty() ? table.model : table.name + "=" + table.model);
  spec.aliases = table.aliases;
  try {
    if (!table.kv_type.empty()) spec.kv_dtype = cache_type(one_of(table.kv_type, {"f32", "f16", "q8_0"}));
    if (!table.kv_memory.empty()) spec.kv_bytes = size(table.kv_memory);
    if (!table.keep_alive.empty()) spec.keep_alive = keep_alive_time(table.keep_alive);
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "{}: model \"{}\": {}", file, printable(spec.name), error.what());
  }
  return spec;
}

void check(const ServeSettings& settings) {
  if (settings.models.empty()) fail(ErrorCode::kInvalidArgument, "no model is named: sampan serve MODEL, or a [[model]] in the file");
  std::set<std::string> names;
  for (const ModelSpec& model : settings.models) {
    std::set<std::string> own(model.aliases.begin(), model.aliases.end());
    own.insert(model.name);
    for (const std::string& name : own) {
      if (name.empty()) fail(ErrorCode::kInvalidArgument, "a model's name or alias is empty");
      if (!names.insert(name).second) fail(ErrorCode::kInvalidArgument, "two models are named {}", printable(name));
    }
  }
  if (settings.tls_certificate.empty() != settings.tls_key.empty()) fail(ErrorCode::kInvalidArgument, "tls_certificate and tls_key belong together");
  if (!is_loopback(settings.listen) && settings.api_keys.empty() && settings.keys_file.empty()) {
    fail(ErrorCode::kInvalidArgument, "{} can be reached from other machines: set an api_key or a keys_file first", printable(settings.listen.host));
  }
  trace_plan(settings.trace);
}

}  // namespace

std::string Setting::flag() const {
  std::string name = "--" + std::string(key);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string Setting::variable() const {
  std::string name = "SAMPAN_" + std::string(key);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  return name;
}

const std::vector<Setting>& serve_settings() {
  static const std::vector<Setting> settings = make_settings();
  return settings;
}

ServeSettings resolve_serve_settings(const std::string& file, const GivenSettings& flags, const std::vector<std::string>& models) {
  ServeSettings settings;
  std::map<std::string, std::string> set_by;
  ServeFile given;
  if (!file.empty()) given = read_serve_file(file);
  for (const auto& [key, values] : given.settings) find_setting(key, file);
  for (const Setting& setting : serve_settings()) {
    const auto from_flags = flags.find(setting.key);
    const std::optional<std::string> variable = variable_set(setting);
    const auto from_file = given.settings.find(setting.key);
    if (from_flags != flags.end()) {
      apply(setting, from_flags->second, setting.flag(), settings);
    } else if (variable) {
      const std::string value = std::getenv(variable->c_str());
      apply(setting, setting.is_list() ? split_list(value) : std::vector<std::string>{value}, *variable, settings);
    } else if (from_file != given.settings.end()) {
      apply(setting, from_file->second, file + ": " + setting.key, settings);
    }
  }
  for (const ModelTable& table : given.models) settings.models.push_back(model_of(table, file));
  for (const std::string& model : models) settings.models.push_back(model_of(model));
  for (ModelSpec& model : settings.models) {
    if (!model.kv_bytes && settings.kv_memory > 0) model.kv_bytes = settings.kv_memory;
    if (!model.kv_dtype && !settings.kv_type.empty() && settings.kv_type != "auto") model.kv_dtype = cache_type(settings.kv_type);
  }
  if (settings.host.threads == 0) settings.host.threads = default_thread_count();
  check(settings);
  return settings;
}

std::vector<std::pair<std::string, std::string>> read_keys_file(const std::string& path) {
  std::istringstream lines(read_file(path, 16 << 20));
  std::vector<std::pair<std::string, std::string>> keys;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::vector<std::string> parts;
    for (std::string word; words >> word;) parts.push_back(word);
    if (parts.empty()) continue;
    if (parts.size() > 2) fail(ErrorCode::kInvalidData, "{}: line {} is not a key, or a name and a key", printable(path, 200), number);
    keys.emplace_back(parts.size() == 2 ? parts[0] : fmt::format("key-{}", keys.size() + 1), parts.back());
  }
  if (keys.empty()) fail(ErrorCode::kInvalidData, "{}: there is no key in it", printable(path, 200));
  return keys;
}

std::string serve_settings_reference() {
  std::string page =
      "# Configuration of `sampan serve`\n\n"
      "Written by `sampan serve --reference`; a test compares. Each setting can be given as a flag, in the environment, or in the TOML file of\n"
      "`--config FILE`; the first of these wins. `sampan serve --check` reads everything, prints the memory plan and ends.\n\n"
      "| in the file | flag | environment | type | default | what it does |\n|---|---|---|---|---|---|\n";
  const ServeSettings defaults;
  for (const Setting& setting : serve_settings()) {
    const std::string value = setting.get(defaults);
    std::string type = setting.type;
    if (const std::size_t bar = type.find('|'); bar != std::string::npos) type.insert(bar, "\\");
    std::string variables = "`" + setting.variable() + "`";
    for (const std::string& name : setting.standard_variables) variables += ", `" + name + "`";
    page += fmt::format("| `{}` | `{}` | {} | {} | {} | {} |\n", setting.key, setting.flag(), variables, type, value.empty() ? "none" : "`" + value + "`", setting.help);
  }
  page +=
      "\nModels are named on the command line (`MODEL` or `NAME=MODEL`) or in the file, each in a table of its own:\n\n"
      "```toml\nport = 8080\nkeys_file = \"/etc/sampan/keys\"\nmemory = \"24GB\"\n\n[[model]]\nname = \"support\"            # by which requests ask for it\n"
      "model = \"hf:Qwen/Qwen3-4B\"  # a folder, a .gguf file or a pulled name\naliases = [\"gpt-4o-mini\"]\nkv_memory = \"4GB\"\nkv_type = \"f16\"\nkeep_alive = \"30m\"\n```\n";
  return page;
}

}  // namespace sampan
