#include <fmt/core.h>
#include <openssl/evp.h>

#include <array>

#include "serve/api/ollama.h"
#include "serve/api/pooling.h"

namespace sampan {
namespace {

std::string size_words(std::int64_t parameters) {
  const auto count = static_cast<double>(parameters);
  if (count >= 1e9) return fmt::format("{:.1f}B", count * 1e-9);
  if (count >= 1e6) return fmt::format("{:.2f}M", count * 1e-6);
  return fmt::format("{:.2f}K", count * 1e-3);
}

// 64 hex digits, whose first twelve Ollama's own command shows. Where the files' digest is not
// known, it is one of what changes when they do.
std::string hex_digest(const ServedModelInfo& model) {
  if (model.digest.starts_with("sha256:")) return model.digest.substr(7);
  const std::string told = fmt::format("{}\n{}\n{}", model.name, model.bytes, model.created);
  std::array<unsigned char, 32> bytes{};
  const int done =
      EVP_Digest(told.data(), told.size(), bytes.data(), nullptr, EVP_sha256(), nullptr);
  SAMPAN_CHECK(done == 1);
  std::string digits;
  for (const unsigned char byte : bytes) digits += fmt::format("{:02x}", byte);
  return digits;
}

Json details_json(const ServedModelInfo& model) {
  return {{"parent_model", ""},
          {"format", model.format},
          {"family", model.family},
          {"families", Json::array({model.family})},
          {"parameter_size", size_words(model.parameters)},
          {"quantization_level", model.quantization}};
}

Json capabilities(const ServedModelInfo& model) {
  Json list = Json::array();
  const bool embeds = pooling_of(model.name) == Pooling::kLastToken;
  list.push_back(embeds ? "embedding" : "completion");
  const auto mentions = [&](const char* word) {
    return model.chat_template.find(word) != std::string::npos;
  };
  if (!embeds && mentions("tools")) list.push_back("tools");
  if (!embeds && (mentions("enable_thinking") || mentions("<think>"))) list.push_back("thinking");
  return list;
}

std::string expiry(const ServedModelInfo& model) {
  if (!model.unloads_at) return "2318-01-01T00:00:00.000000Z";  // as Ollama says never
  return utc_time(
      std::chrono::duration_cast<std::chrono::microseconds>(model.unloads_at->time_since_epoch())
          .count());
}

}  // namespace

std::string ollama_now() {
  return utc_time(std::chrono::duration_cast<std::chrono::microseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count());
}

std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

void ollama_root(Call call) {
  const std::string_view accept = call.request().header("accept").value_or("");
  if (!call.api.options.page.empty() && accept.find("text/html") != std::string_view::npos)
    return call.respond(text_response(call.api.options.page, "text/html; charset=utf-8"));
  call.respond(text_response("Ollama is running"));
}

void ollama_version(Call call) { call.respond(Json{{"version", call.api.options.ollama_version}}); }

void ollama_tags(Call call) {
  Json models = Json::array();
  for (const ServedModelInfo& model : call.api.service.models()) {
    models.push_back({{"name", model.name},
                      {"model", model.name},
                      {"modified_at", utc_time(model.created * 1000000)},
                      {"size", model.bytes},
                      {"digest", hex_digest(model)},
                      {"details", details_json(model)}});
  }
  call.respond(Json{{"models", std::move(models)}});
}

void ollama_ps(Call call) {
  Json models = Json::array();
  for (const ServedModelInfo& model : call.api.service.models()) {
    if (!model.is_loaded) continue;
    models.push_back({{"name", model.name},
                      {"model", model.name},
                      {"size", model.loaded_bytes},
                      {"digest", hex_digest(model)},
                      {"details", details_json(model)},
                      {"expires_at", expiry(model)},
                      {"size_vram", 0},
                      {"context_length", model.context_length}});
  }
  call.respond(Json{{"models", std::move(models)}});
}

void ollama_show(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  auto name = body.string("model");
  if (!name) name = body.string("name");
  if (!name) throw ApiError(400, "model is required", "model");
  const ServedModelInfo model = call.api.service.model(*name);
  const std::string prefix = model.family + ".";
  call.respond(Json{{"modelfile", ""},
                    {"parameters", ""},
                    {"template", model.chat_template},
                    {"details", details_json(model)},
                    {"model_info",
                     {{"general.architecture", model.family},
                      {"general.parameter_count", model.parameters},
                      {prefix + "context_length", model.context_length},
                      {prefix + "embedding_length", model.embedding_length}}},
                    {"capabilities", capabilities(model)},
                    {"modified_at", utc_time(model.created * 1000000)}});
}

}  // namespace sampan
