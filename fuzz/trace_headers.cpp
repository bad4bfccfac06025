// What comes from outside about traces: the headers traceparent and tracestate of any client, the lists and URLs of OpenTelemetry's
// variables, a collector's reply. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "serve/trace/key_values.h"
#include "serve/trace/otlp_http.h"
#include "serve/trace/otlp_json.h"
#include "serve/trace/trace_context.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void read_traceparent(std::string_view text) {
  const auto context = sampan::parse_traceparent(text);
  if (!context) return;
  require(context->span_id != 0 && !(context->trace_id == sampan::TraceId{}));
  require(text.substr(3, 32) == context->trace_id.hex() && text.substr(36, 16) == sampan::span_id_hex(context->span_id));
}

void read_tracestate(std::string_view text) {
  const std::string state = sampan::parse_tracestate(text);
  require(state.size() <= text.size() && state.size() <= 512);
  require(sampan::parse_tracestate(state) == state);
  for (const char c : state) require(c >= ' ' && c <= '~');
}

void read_list(std::string_view text, bool is_headers) {
  try {
    const sampan::KeyValues list = is_headers ? sampan::parse_header_list(text) : sampan::parse_key_values(text);
    for (const auto& [name, value] : list) {
      require(!name.empty());
      if (is_headers) require(name.find_first_of(":\r\n ") == std::string::npos && value.find_first_of("\r\n") == std::string::npos);
    }
  } catch (const sampan::Error& error) {
    require(error.code() == sampan::ErrorCode::kInvalidArgument);
  }
}

void read_url(const std::string& text) {
  try {
    const std::string url = sampan::traces_url(text);
    require(url.starts_with("http") && url.find("/v1/traces") != std::string::npos);
    require(sampan::checked_url(url) == url);
    sampan::shown_url(url);
  } catch (const sampan::Error& error) {
    require(error.code() == sampan::ErrorCode::kInvalidArgument);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const int kind = data[0] % 6;
  if (kind == 0) read_traceparent(text);
  if (kind == 1) read_tracestate(text);
  if (kind == 2 || kind == 3) read_list(text, kind == 3);
  if (kind == 4) require(sampan::parse_otlp_reply(text).rejected >= 0);
  if (kind == 5 && text.find('\0') == std::string_view::npos) read_url(std::string(text));
  return 0;
}
