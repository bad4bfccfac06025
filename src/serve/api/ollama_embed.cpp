#include <fmt/core.h>

#include "serve/api/ollama.h"
#include "serve/api/pooling.h"

namespace sampan {
namespace {

PoolingRequest pooling_request(const Call& call, const ServedModelInfo& model, std::string text,
                               bool truncates) {
  PoolingRequest request;
  request.model = model.name;
  request.prompt = TextPrompt{std::move(text), true};
  request.pooling = pooling_of(model.name);
  if (truncates) request.truncate_tokens = model.context_length;
  request.caller = call.caller;
  request.deadline = call.deadline();
  return request;
}

ServedModelInfo model_of(const Call& call, const Body& body) {
  const ServedModelInfo model = call.api.service.model(*body.string("model"));
  if (const auto duration = ollama_keep_alive(body))
    call.api.service.keep_alive(model.name, *duration, false);
  return model;
}

}  // namespace

void ollama_embed(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const ServedModelInfo model = model_of(call, body);
  const std::int64_t dimensions = body.integer("dimensions").value_or(0);
  if (dimensions > model.embedding_length)
    body.refuse("dimensions", fmt::format("dimensions is {}; the model has {}", dimensions,
                                          model.embedding_length));
  std::vector<PoolingRequest> requests;
  const bool is_empty = *body.find("input") == "";  // as Ollama: no text, no vector
  for (std::string& text : is_empty ? std::vector<std::string>() : body.strings("input"))
    requests.push_back(
        pooling_request(call, model, std::move(text), body.boolean("truncate").value_or(true)));
  const std::string name = *body.string("model");
  if (requests.empty()) return call.respond(Json{{"model", name}, {"embeddings", Json::array()}});
  start_pooling(call, std::move(requests),
                [name, dimensions](std::vector<PoolingResult>& results, double seconds) -> Json {
                  Json embeddings = Json::array();
                  for (PoolingResult& result : results) {
                    normalise(result.embedding, static_cast<std::size_t>(dimensions));
                    embeddings.push_back(result.embedding);
                  }
                  return {{"model", name},
                          {"embeddings", std::move(embeddings)},
                          {"total_duration", nanoseconds(seconds)},
                          {"load_duration", 0},
                          {"prompt_eval_count", prompt_tokens(results)}};
                });
}

// The older route: one text, and the vector as the model gives it.
void ollama_embeddings(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const ServedModelInfo model = model_of(call, body);
  const std::string text = *body.string("prompt");
  if (text.empty()) return call.respond(Json{{"embedding", Json::array()}});
  std::vector<PoolingRequest> requests;
  requests.push_back(pooling_request(call, model, text, true));
  start_pooling(call, std::move(requests), [](std::vector<PoolingResult>& results, double) -> Json {
    return {{"embedding", results.at(0).embedding}};
  });
}

}  // namespace sampan
