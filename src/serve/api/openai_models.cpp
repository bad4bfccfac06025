#include "serve/api/openai.h"

namespace sampan {
namespace {

Json openai_model(const ServedModelInfo& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "sampan"},
          {"root", model.name},
          {"parent", nullptr},
          {"max_model_len", model.context_length}};
}

Json anthropic_model(const ServedModelInfo& model) {
  return {{"type", "model"},
          {"id", model.name},
          {"display_name", model.name},
          {"created_at", utc_time(model.created * 1000000)}};
}

}  // namespace

void list_models(Call call) {
  Json data = Json::array();
  const bool is_anthropic = call.dialect == Dialect::kAnthropic;
  const std::vector<ServedModelInfo> models = call.api.service.models();
  for (const ServedModelInfo& model : models)
    data.push_back(is_anthropic ? anthropic_model(model) : openai_model(model));
  if (!is_anthropic) return call.respond(Json{{"object", "list"}, {"data", std::move(data)}});
  const auto id = [](const ServedModelInfo& model) { return Json(model.name); };
  call.respond(Json{{"data", std::move(data)},
                    {"has_more", false},
                    {"first_id", models.empty() ? Json(nullptr) : id(models.front())},
                    {"last_id", models.empty() ? Json(nullptr) : id(models.back())}});
}

void show_model(Call call) {
  const ServedModelInfo model = call.api.service.model(call.parameter);
  call.respond(call.dialect == Dialect::kAnthropic ? anthropic_model(model) : openai_model(model));
}

}  // namespace sampan
