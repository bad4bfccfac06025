#include <csignal>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "commands.h"
#include "serve/api/api_server.h"
#include "serve_log.h"
#include "serve_settings.h"
#include "serve_trace.h"

namespace sampan {
namespace {

struct ServeOptions {
  std::vector<std::string> models;
  std::string config;
  GivenSettings given;
  bool check = false, reference = false, api_reference = false;
};

std::string gigabytes(std::int64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9); }

// Nobody listens where the log is switched off.
LogWriter log_of(const ServeSettings& settings) { return settings.log == "json" ? LogWriter(log_line) : LogWriter(); }

std::vector<ApiKey> keys_of(const ServeSettings& settings) {
  std::vector<ApiKey> keys;
  for (std::size_t i = 0; i < settings.api_keys.size(); ++i) keys.push_back({fmt::format("api-key-{}", i + 1), settings.api_keys[i]});
  if (!settings.keys_file.empty()) {
    for (auto& [name, secret] : read_keys_file(settings.keys_file)) keys.push_back({name, secret});
  }
  return keys;
}

HttpOptions http_options(const ServeSettings& settings, Tracer* tracer) {
  HttpOptions options;
  options.limits = settings.limits;
  options.cors_origins = settings.cors_origins;
  if (!settings.tls_certificate.empty()) options.tls = TlsFiles{settings.tls_certificate, settings.tls_key};
  if (settings.log == "json") options.log = log_access;
  options.tracer = tracer;
  return options;
}

ApiOptions api_options(const ServeSettings& settings) {
  ApiOptions options;
  options.version = SAMPAN_VERSION;
  options.body_limit = settings.limits.body;
  options.api_sampling_defaults = settings.sampling_defaults == "api";
  options.deadline = settings.request_time;
  options.log = log_of(settings);
  options.origins = settings.cors_origins;
  return options;
}

std::vector<EngineGauges> gauges_of(const ModelHost& host) {
  std::vector<EngineGauges> all;
  for (const ModelHost::ModelMetrics& model : host.metrics()) {
    const EngineMetrics& e = model.engine;
    EngineGauges gauges;
    gauges.model = model.name;
    gauges.running = e.running;
    gauges.waiting = e.waiting;
    gauges.kv_usage = e.kv_blocks > 0 ? static_cast<double>(e.kv_blocks_in_use) / static_cast<double>(e.kv_blocks) : 0;
    gauges.prefix_queries = e.prefix_queries;
    gauges.prefix_hits = e.prefix_hits;
    gauges.preemptions = e.preemptions;
    all.push_back(gauges);
  }
  return all;
}

void print_plan(const ModelHost& host) {
  std::fprintf(stderr, "memory for models: %s\n", gigabytes(host.memory()).c_str());
  for (const ServedModelInfo& info : host.models()) {
    const LoadPlan plan = host.plan(info.name);
    std::fprintf(stderr, "%s: %s; weights %s, cache %s (%s, %lld tokens in one text at most), workspace %s\n", printable(info.name, 200).c_str(),
                 info.description.c_str(), gigabytes(plan.weight_bytes).c_str(), gigabytes(plan.kv_bytes).c_str(),
                 std::string(dtype_name(plan.kv_dtype)).c_str(), static_cast<long long>(info.context_length), gigabytes(plan.workspace_bytes).c_str());
  }
}

std::string url_of(const ServeSettings& settings, std::uint16_t port) {
  if (!settings.listen.unix_path.empty()) return "unix:" + settings.listen.unix_path;
  const bool v6 = settings.listen.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", settings.tls_certificate.empty() ? "http" : "https", v6 ? "[" : "", settings.listen.host, v6 ? "]" : "", port);
}

void print_first_steps(const ServeSettings& settings, const std::string& url) {
  const std::string& model = settings.models.front().name;
  std::fprintf(stderr, "Sampan serves %s on %s\n", printable(model, 200).c_str(), url.c_str());
  if (!settings.listen.unix_path.empty()) return;
  const bool has_keys = !settings.api_keys.empty() || !settings.keys_file.empty();
  std::fprintf(stderr,
               "  curl %s/v1/chat/completions %s-H 'Content-Type: application/json' -d '{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Where is "
               "my order 48213?\"}]}'\n",
               url.c_str(), has_keys ? "-H \"Authorization: Bearer $KEY\" " : "", model.c_str());
  std::fprintf(stderr,
               "  python3 -c 'from openai import OpenAI; print(OpenAI(base_url=\"%s/v1\", api_key=\"%s\").chat.completions.create(model=\"%s\", "
               "messages=[{\"role\":\"user\",\"content\":\"Where is my order 48213?\"}]).choices[0].message.content)'\n",
               url.c_str(), has_keys ? "KEY" : "none", model.c_str());
}

// Signals are taken by sigwait in the main thread: blocked before any other thread is made.
sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return set;
}

// Keys, models and certificates anew. What can fail comes before what is changed, so that a mistake
// in one of them leaves the others as they were.
void reload(const ServeOptions& options, const LogWriter& log, KeyRing& keys, ModelHost& host, HttpServer& server) {
  try {
    const ServeSettings settings = resolve_serve_settings(options.config, options.given, options.models);
    const std::vector<ApiKey> next_keys = keys_of(settings);
    static_cast<void>(KeyRing(next_keys));
    HttpServer::check_tls(http_options(settings, nullptr));
    host.replace_models(settings.models);
    keys.replace(next_keys);
    server.reload_tls();
    std::fprintf(stderr, "sampan: keys, models and certificates were read again\n");
    write_log(log, LogLevel::kInfo, "configuration reloaded", {{"models", static_cast<std::int64_t>(settings.models.size())}});
  } catch (const Error& error) {
    std::fprintf(stderr, "sampan: nothing is changed: %s\n", error.what());
    write_log(log, LogLevel::kError, "reload failed", {{"error", error.what()}});
  }
}

void serve(const ServeOptions& options) {
  ServeSettings settings = resolve_serve_settings(options.config, options.given, options.models);
  const LogWriter log = log_of(settings);
  if (!options.check) settings.host.log = log;
  KeyRing keys(keys_of(settings));
  const sigset_t signals = block_signals();
  const std::optional<TracePlan> traces = trace_plan(settings.trace);
  const std::unique_ptr<Tracer> tracer = make_tracer(options.check ? std::nullopt : traces, log);  // before all that ends spans
  ModelHost host(settings.host, settings.models);
  print_plan(host);
  if (traces) std::fprintf(stderr, "traces go to %s\n", shown_url(traces->collector.url).c_str());
  std::function<SpanCounts()> span_counts;
  if (tracer) span_counts = [&tracer] { return tracer->counts(); };
  Metrics metrics([&host] { return gauges_of(host); }, span_counts);
  ApiServer api(host, keys, api_options(settings), metrics);
  HttpServer server(http_options(settings, tracer.get()), api);
  if (options.check) {
    for (const ModelSpec& model : settings.models) host.model(model.name);  // tokenizer, template
    std::fprintf(stderr, "the configuration is in order\n");
    return;
  }
  if (settings.preload) host.load(settings.models.front().name);
  const std::uint16_t port = server.listen(settings.listen);
  const std::string url = url_of(settings, port);
  print_first_steps(settings, url);
  write_log(log, LogLevel::kInfo, "server started",
            {{"version", SAMPAN_VERSION}, {"url", url}, {"models", static_cast<std::int64_t>(settings.models.size())}, {"threads", settings.host.threads}});
  while (true) {
    int signal = 0;
    ::sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    reload(options, log, keys, host, server);
  }
  std::fprintf(stderr, "sampan: draining; a second signal ends at once\n");
  write_log(log, LogLevel::kInfo, "draining",
            {{"requests", server.stats().requests}, {"longest_seconds", std::chrono::duration<double>(settings.drain_time).count()}});
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  std::signal(SIGTERM, SIG_DFL);
  const bool is_whole = server.drain(settings.drain_time);
  server.stop();
  write_log(log, is_whole ? LogLevel::kInfo : LogLevel::kWarning, "server stopped", {{"all_requests_finished", is_whole}});
}

void run(const ServeOptions& options) {
  if (options.reference) {
    std::fputs(serve_settings_reference().c_str(), stdout);
  } else if (options.api_reference) {
    std::fputs(api_reference().c_str(), stdout);
  } else {
    serve(options);
  }
}

}  // namespace

void add_serve_command(CLI::App& app, int&) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "Serve models over the OpenAI, Anthropic and Ollama APIs");
  command->add_option("MODEL", options->models, "Models as `sampan run` takes them, or NAME=MODEL to serve one under another name");
  command->add_option("--config", options->config, "TOML file with settings and [[model]] tables")->type_name("FILE");
  command->add_flag("--check", options->check, "Read the configuration and the models' descriptions, print the memory plan, and end");
  command->add_flag("--reference", options->reference, "Print the reference page of the settings")->group("");
  command->add_flag("--api-reference", options->api_reference, "Print the reference page of the APIs")->group("");
  for (const Setting& setting : serve_settings()) {
    const auto take = [options, key = setting.key](const std::vector<std::string>& values) {
      options->given[key] = values;
      return true;
    };
    command->add_option(setting.flag(), take, setting.help)->type_name(setting.type)->expected(1)->allow_extra_args(false);
    if (setting.is_list()) command->get_option(setting.flag())->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  command->callback([options] { run(*options); });
}

}  // namespace sampan
