#include "serve/api/openai.h"

namespace sampan {

const std::vector<Route>& routes() {
  using enum Dialect;
  static const std::vector<Route> table = {
      {.method = "POST",
       .path = "/v1/chat/completions",
       .handler = openai_chat,
       .summary = "Chat completions, whole or streamed.",
       .fields = chat_fields,
       .wants_json = true},
      {.method = "POST",
       .path = "/v1/completions",
       .handler = openai_completions,
       .summary = "Text completions and log-likelihoods.",
       .fields = completion_fields,
       .wants_json = true},
      {.method = "POST",
       .path = "/v1/embeddings",
       .handler = openai_embeddings,
       .summary = "Vectors of texts.",
       .fields = embedding_fields,
       .wants_json = true},
      {.method = "GET",
       .path = "/v1/models",
       .handler = list_models,
       .summary = "The models that are served; in Anthropic's shape when the request has an "
                  "anthropic-version header."},
      {.method = "GET",
       .path = "/v1/models/{id}",
       .handler = show_model,
       .summary = "One of them."},
  };
  return table;
}

}  // namespace sampan
