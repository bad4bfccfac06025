#include "remote_chat.h"

#include <curl/curl.h>

#include <memory>

#include "base/error.h"

namespace sampan {
namespace {

using Json = nlohmann::ordered_json;

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// A streamed answer as it arrives. Callbacks of curl must not throw: what goes wrong is kept for later.
struct Arrival {
  const std::function<bool()>& interrupted;
  const RemoteChat::OnText& on_text;
  std::string buffer;  // of the line that is not whole yet, or of a refusal's body
  std::string answer;
  long status = 0;
  bool is_done = false, was_interrupted = false;
  std::exception_ptr failure;

  void take_line(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("data: ")) return;
    line.remove_prefix(6);
    if (line == "[DONE]") {
      is_done = true;
      return;
    }
    const Json event = Json::parse(line);
    if (event.contains("error")) fail(ErrorCode::kNetwork, "the server: {}", printable(event["error"].value("message", "an error"), 500));
    const Json choices = event.value("choices", Json::array());
    if (choices.empty()) return;
    const Json delta = choices[0].value("delta", Json::object());
    const auto text_of = [&](const char* field) { return delta.contains(field) && delta[field].is_string() ? delta[field].get<std::string>() : std::string(); };
    std::string reasoning = text_of("reasoning_content");
    if (reasoning.empty()) reasoning = text_of("reasoning");
    if (!reasoning.empty()) on_text(reasoning, true);
    const std::string content = text_of("content");
    if (!content.empty()) on_text(content, false);
    answer += content;
  }

  void take(std::string_view bytes) {
    buffer += bytes;
    if (status != 200) {
      if (buffer.size() > (1 << 20)) fail(ErrorCode::kNetwork, "the server's refusal is longer than 1 MiB");
      return;
    }
    for (std::size_t end = buffer.find('\n'); end != std::string::npos; end = buffer.find('\n')) {
      take_line(std::string_view(buffer).substr(0, end));
      buffer.erase(0, end + 1);
    }
    if (buffer.size() > (16 << 20)) fail(ErrorCode::kInvalidData, "the server sent a line longer than 16 MiB");
  }
};

std::size_t on_bytes(char* data, std::size_t size, std::size_t count, void* context) {
  auto& arrival = *static_cast<Arrival*>(context);
  try {
    arrival.take({data, size * count});
    return size * count;
  } catch (...) {
    arrival.failure = std::current_exception();
    return 0;
  }
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* context) {
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/") && line.size() > 12) static_cast<Arrival*>(context)->status = std::strtol(data + line.find(' ') + 1, nullptr, 10);
  return size * count;
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& arrival = *static_cast<Arrival*>(context);
  arrival.was_interrupted = arrival.was_interrupted || arrival.interrupted();
  return arrival.was_interrupted ? 1 : 0;
}

[[noreturn]] void refuse(const Arrival& arrival) {
  const Json body = Json::parse(arrival.buffer, nullptr, false);
  std::string message = fmt::format("status {}", arrival.status);
  if (body.is_object() && body.contains("error")) {
    const Json& error = body["error"];
    message = error.is_object() ? error.value("message", message) : error.is_string() ? error.get<std::string>() : message;
  }
  const ErrorCode code = arrival.status == 404                            ? ErrorCode::kNotFound
                         : arrival.status == 401 || arrival.status == 403 ? ErrorCode::kPermission
                         : arrival.status >= 500 || arrival.status == 429 ? ErrorCode::kLimit
                                                                          : ErrorCode::kInvalidArgument;
  fail(code, "the server: {}", printable(message, 500));
}

void stream(const std::string& url, const std::string& key, const std::string& body, Arrival& arrival) {
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (!curl) fail(ErrorCode::kNetwork, "curl cannot be started");
  std::unique_ptr<curl_slist, CurlDeleter> headers(curl_slist_append(nullptr, "Content-Type: application/json"));
  if (!key.empty()) curl_slist_append(headers.get(), ("Authorization: Bearer " + key).c_str());
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl.get(), option, value); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_POSTFIELDS, body.c_str());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  set(CURLOPT_WRITEFUNCTION, on_bytes);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&arrival));
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&arrival));
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&arrival));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, 10L);
  const CURLcode result = curl_easy_perform(curl.get());
  if (arrival.failure) std::rethrow_exception(arrival.failure);
  if (arrival.was_interrupted) return;
  if (result != CURLE_OK) fail(ErrorCode::kNetwork, "{}: {}", printable(url, 200), curl_easy_strerror(result));
  if (arrival.status != 200) refuse(arrival);
  if (!arrival.is_done) fail(ErrorCode::kNetwork, "{}: the answer broke off", printable(url, 200));
}

}  // namespace

void RemoteChat::set_system(const std::string& text) {
  if (!messages_.empty() && messages_[0]["role"] == "system") messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", text}});
}

void RemoteChat::clear() {
  const bool has_system = !messages_.empty() && messages_[0]["role"] == "system";
  messages_.erase(messages_.begin() + (has_system ? 1 : 0), messages_.end());
}

std::string RemoteChat::request_body() const {
  Json body = {{"model", options_.model}, {"messages", messages_}, {"stream", true}};
  const auto add = [&](const char* name, const auto& value) {
    if (value) body[name] = *value;
  };
  const SamplingOverrides& sampling = options_.sampling;
  add("temperature", options_.greedy ? std::optional<double>(0) : sampling.temperature);
  add("top_p", sampling.top_p);
  add("top_k", sampling.top_k);
  add("min_p", sampling.min_p);
  add("repetition_penalty", sampling.repetition_penalty);
  add("presence_penalty", sampling.presence_penalty);
  add("frequency_penalty", sampling.frequency_penalty);
  add("seed", sampling.seed);
  if (options_.max_tokens > 0) body["max_tokens"] = options_.max_tokens;
  if (!options_.stop_strings.empty()) body["stop"] = options_.stop_strings;
  if (!options_.variables.empty()) body["chat_template_kwargs"] = options_.variables;
  if (options_.ignore_eos) body["ignore_eos"] = true;
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool RemoteChat::ask(const std::string& user, const std::function<bool()>& interrupted, const OnText& on_text) {
  messages_.push_back(Json{{"role", "user"}, {"content", user}});
  Arrival arrival{interrupted, on_text, {}, {}, 0, false, false, nullptr};
  try {
    stream(options_.url + "/v1/chat/completions", options_.key, request_body(), arrival);
  } catch (const Json::exception& error) {
    messages_.erase(messages_.end() - 1);
    fail(ErrorCode::kInvalidData, "the server sent what is no JSON: {}", printable(error.what()));
  } catch (...) {
    messages_.erase(messages_.end() - 1);
    throw;
  }
  messages_.push_back(Json{{"role", "assistant"}, {"content", arrival.answer}});
  return arrival.was_interrupted;
}

}  // namespace sampan
