#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/host/model_host.h"
#include "serve/http/http_server.h"

namespace sampan {

// Where traces go, as written; trace_plan() makes sense of it.
struct TraceSettings {
  std::string endpoint, traces_endpoint, headers, certificate;
  std::string protocol = "http/json";
  std::string exporter = "otlp";
  std::string service_name, resource_attributes;
  std::string sampler = "parentbased_always_on", sampler_argument;
  std::chrono::milliseconds timeout{10000};
  bool is_disabled = false;
};

// All that `sampan serve` can be told.
struct ServeSettings {
  ListenAddress listen;
  std::vector<std::string> api_keys;
  std::string keys_file;
  std::string tls_certificate, tls_key;
  std::vector<std::string> cors_origins;
  HttpLimits limits;
  HostOptions host;
  std::string kv_type;
  std::int64_t kv_memory = 0;
  std::chrono::milliseconds drain_time{30000};
  std::chrono::milliseconds request_time{0};
  std::string sampling_defaults = "model";
  bool preload = true;
  std::string log = "json";
  TraceSettings trace;
  std::vector<ModelSpec> models;  // names resolved to files

  ServeSettings() { host.threads = 0; }
};

// One thing that can be set: in the file as `key`, as the flag --key (with - for _), in the environment as SAMPAN_KEY, or by the variables that
// a standard has for it.
struct Setting {
  const char* key;
  const char* type;  // "text", "number", "size", "time", "yes|no", "list"
  const char* help;
  // Throws Error kInvalidArgument, without the key, for what cannot be.
  std::function<void(ServeSettings&, const std::string&)> set;
  std::function<std::string(const ServeSettings&)> get;  // as it would be written
  std::vector<std::string> standard_variables = {};      // the first that is set and not empty counts, behind variable()
  bool is_list() const { return std::string_view(type) == "list"; }
  std::string flag() const;
  std::string variable() const;
};
const std::vector<Setting>& serve_settings();

// What was given, by Setting::key; lists have several values.
using GivenSettings = std::map<std::string, std::vector<std::string>>;

// Flags over the environment over the file over the defaults. `models`: MODEL or NAME=MODEL from the command line, beside those of the
// file's [[model]] tables. Throws Error naming the flag, the variable, or the file and the key.
ServeSettings resolve_serve_settings(const std::string& file, const GivenSettings& flags, const std::vector<std::string>& models);

// "name key" or "key" lines of a keys file; # begins a comment. Throws Error.
std::vector<std::pair<std::string, std::string>> read_keys_file(const std::string& path);

// docs/reference/configuration.md.
std::string serve_settings_reference();

}  // namespace sampan
