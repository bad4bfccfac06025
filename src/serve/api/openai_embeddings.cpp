#include <bit>

#include "serve/api/openai.h"
#include "serve/api/pooling.h"

namespace sampan {
namespace {

constexpr std::int64_t kMaxTokens = 300000;

// float32, little-endian.
std::string base64(const std::vector<float>& values) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((bits >> shift) & 0xFF);
  }
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j <= bytes.size() ? kDigits[(group >> (18 - 6 * j)) & 63] : '=';
  }
  return text;
}

Json reply_json(const std::string& model, std::vector<PoolingResult>& results,
                std::size_t dimensions, bool as_base64) {
  Json data = Json::array();
  for (std::size_t i = 0; i < results.size(); ++i) {
    normalise(results[i].embedding, dimensions);
    data.push_back({{"object", "embedding"},
                    {"index", i},
                    {"embedding",
                     as_base64 ? Json(base64(results[i].embedding)) : Json(results[i].embedding)}});
  }
  const std::int64_t tokens = prompt_tokens(results);
  return {{"object", "list"},
          {"data", std::move(data)},
          {"model", model},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
}

}  // namespace

void openai_embeddings(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const ServedModelInfo model = call.api.service.model(body.string("model").value_or(""));
  const std::int64_t dimensions = body.integer("dimensions").value_or(0);
  if (dimensions > model.embedding_length) {
    body.refuse("dimensions", "'dimensions' is " + std::to_string(dimensions) + "; the model has " +
                                  std::to_string(model.embedding_length) + ".");
  }
  const auto truncate = body.integer("truncate_prompt_tokens");
  if (truncate == 0)
    body.refuse("truncate_prompt_tokens", "'truncate_prompt_tokens' must be -1 or at least 1.");
  std::vector<PoolingRequest> requests;
  std::int64_t tokens = 0;
  for (TextInput& input : text_inputs(body, "input")) {
    PoolingRequest request;
    request.model = model.name;
    if (auto* const text = std::get_if<TextPrompt>(&input)) {
      text->add_special_tokens = body.boolean("add_special_tokens").value_or(true);
      if (text->text.empty()) body.refuse("input", "'input' has an empty text.");
      tokens += static_cast<std::int64_t>(text->text.size() / 16);  // at least so many
    } else {
      tokens += static_cast<std::int64_t>(std::get<TokenPrompt>(input).ids.size());
    }
    request.prompt = std::move(input);
    request.pooling = pooling_of(model.name);
    if (truncate) {
      request.truncate_tokens =
          *truncate < 0 ? model.context_length : std::min(*truncate, model.context_length);
    }
    request.caller = call.caller;
    request.deadline = call.deadline();
    requests.push_back(std::move(request));
  }
  if (tokens > kMaxTokens) body.refuse("input", "'input' has more than 300000 tokens in all.");
  const bool as_base64 = body.string("encoding_format").value_or("float") == "base64";
  start_pooling(
      call, std::move(requests),
      [name = model.name, dimensions, as_base64](std::vector<PoolingResult>& results, double) {
        return reply_json(name, results, static_cast<std::size_t>(dimensions), as_base64);
      });
}

}  // namespace sampan
