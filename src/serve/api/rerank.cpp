#include "serve/api/rerank.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "serve/api/pooling.h"

namespace sampan {
namespace {

using Type = Field::Type;
using Status = Field::Status;

constexpr const char* kInstruction =
    "Given a web search query, retrieve relevant passages that answer the query";
// What Qwen3-Reranker was trained with (its model card).
constexpr const char* kSystem =
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. Note that the answer can only be \"yes\" or \"no\".";

struct RerankForm {
  std::string id = new_id("rerank-");
  std::string model;
  std::vector<std::string> documents;
  std::size_t top_n = 0;
  bool shows_documents = false;
  bool by_cosine = false;
};

std::string text_of(const Body& body, const Json& value, std::string_view name) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) {
    const auto text = value.find("text");
    if (text != value.end() && text->is_string()) return text->get<std::string>();
  }
  body.refuse(name, fmt::format("'{}' must be a string or {{\"text\"}}.", name));
}

// The first tokens of a text.
std::string cut(const Call& call, const std::string& model, const std::string& text,
                std::int64_t tokens) {
  if (static_cast<std::int64_t>(text.size()) <= tokens || text.empty()) return text;
  PromptInfo info = call.api.service.tokenize(model, TextPrompt{text, false, false});
  if (static_cast<std::int64_t>(info.ids.size()) <= tokens) return text;
  info.ids.resize(static_cast<std::size_t>(tokens));
  return repaired_utf8(call.api.service.detokenize(model, info.ids, false));
}

// Query and document as the template writes them, so that special tokens in them stay text.
TokenPrompt judged(const Call& call, const std::string& model, const std::string& instruction,
                   const std::string& query, const std::string& document) {
  const Json messages = {{{"role", "system"}, {"content", kSystem}},
                         {{"role", "user"},
                          {"content", fmt::format("<Instruct>: {}\n<Query>: {}\n<Document>: {}",
                                                  instruction, query, document)}}};
  ChatPrompt prompt;
  prompt.messages = dump(messages);
  prompt.variables = R"({"enable_thinking":false})";
  return {call.api.service.tokenize(model, prompt).ids};
}

PoolingRequest pooling_request(const Call& call, const std::string& model) {
  PoolingRequest request;
  request.model = model;
  request.caller = call.caller;
  request.deadline = call.deadline();
  return request;
}

std::vector<PoolingRequest> judge_requests(const Call& call, const Body& body,
                                           const RerankForm& form, const std::string& query) {
  const auto yes = call.api.service.token_id(form.model, "yes");
  const auto no = call.api.service.token_id(form.model, "no");
  if (!yes || !no) fail(ErrorCode::kUnsupported, "{} has no tokens yes and no", form.model);
  const std::string instruction = body.string("instruction").value_or(kInstruction);
  std::vector<PoolingRequest> requests;
  for (const std::string& document : form.documents) {
    PoolingRequest request = pooling_request(call, form.model);
    request.prompt = judged(call, form.model, instruction, query, document);
    request.probe_ids = {*yes, *no};
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<PoolingRequest> cosine_requests(const Call& call, const RerankForm& form,
                                            const std::string& query) {
  std::vector<std::string> texts = form.documents;
  texts.push_back(query);
  std::vector<PoolingRequest> requests;
  for (const std::string& text : texts) {
    PoolingRequest request = pooling_request(call, form.model);
    request.prompt = TextPrompt{text, true, false};
    request.pooling = pooling_of(form.model);
    requests.push_back(std::move(request));
  }
  return requests;
}

// The probability of yes among the two.
double yes_probability(const PoolingResult& result) {
  const double difference = static_cast<double>(result.probe_logits.at(1)) -
                            static_cast<double>(result.probe_logits.at(0));
  return 1 / (1 + std::exp(difference));
}

// One score a document; the last result is the query's where vectors are compared.
std::vector<double> scores_of(const RerankForm& form, std::vector<PoolingResult>& results) {
  std::vector<double> scores;
  if (!form.by_cosine) {
    for (const PoolingResult& result : results) scores.push_back(yes_probability(result));
    return scores;
  }
  for (PoolingResult& result : results) normalise(result.embedding);
  const std::vector<float>& query = results.back().embedding;
  for (std::size_t i = 0; i + 1 < results.size(); ++i) {
    const std::vector<float>& vector = results[i].embedding;
    scores.push_back(std::inner_product(vector.begin(), vector.end(), query.begin(), 0.0));
  }
  return scores;
}

Json reply_json(const RerankForm& form, std::vector<PoolingResult>& results) {
  const std::vector<double> scores = scores_of(form, results);
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), form.top_n));
  Json list = Json::array();
  for (const std::size_t index : order) {
    Json one = {{"index", index}, {"relevance_score", scores[index]}};
    if (form.shows_documents) one["document"] = {{"text", form.documents[index]}};
    list.push_back(std::move(one));
  }
  const std::int64_t tokens = prompt_tokens(results);
  Json reply = {{"id", form.id},
                {"model", form.model},
                {"results", std::move(list)},
                {"meta",
                 {{"api_version", {{"version", "2"}}},
                  {"billed_units", {{"search_units", 1}}},
                  {"tokens", {{"input_tokens", tokens}, {"output_tokens", 0}}}}},
                {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  if (form.by_cosine) {
    reply["meta"]["warnings"] = Json::array(
        {"This model is no reranker: relevance_score is the cosine of the texts' embeddings."});
  }
  return reply;
}

void rerank(Call call, bool shows_documents) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const ServedModelInfo model = call.api.service.model(body.string("model").value_or(""));
  RerankForm form;
  form.model = model.name;
  form.by_cosine = !is_reranker(model.name);
  form.shows_documents = body.boolean("return_documents").value_or(shows_documents);
  const std::string query = text_of(body, *body.find("query"), "query");
  if (query.empty()) body.refuse("query", "'query' is empty.");
  const std::int64_t longest = body.integer("max_tokens_per_doc").value_or(model.context_length);
  std::vector<std::string> shown;
  for (const Json& document : *body.find("documents")) {
    shown.push_back(text_of(body, document, "documents"));
    if (shown.back().empty()) body.refuse("documents", "'documents' has an empty text.");
    form.documents.push_back(cut(call, form.model, shown.back(), longest));
  }
  form.top_n = static_cast<std::size_t>(
      body.integer("top_n").value_or(static_cast<std::int64_t>(shown.size())));
  auto requests =
      form.by_cosine ? cosine_requests(call, form, query) : judge_requests(call, body, form, query);
  form.documents = std::move(shown);
  start_pooling(call, std::move(requests),
                [form = std::move(form)](std::vector<PoolingResult>& results, double) {
                  return reply_json(form, results);
                });
}

}  // namespace

const FieldTable& rerank_fields() {
  static const FieldTable table = {
      {.name = "model",
       .type = Type::kString,
       .fallback = "the first model that is served",
       .note = "a reranker if its name has \"rerank\" in it (Qwen3-Reranker's prompt, the "
               "probability of yes); else the cosine of embeddings, said in meta.warnings"},
      {.name = "query", .is_required = true, .note = "a string or {\"text\"}"},
      {.name = "documents",
       .type = Type::kArray,
       .is_required = true,
       .min = 1,
       .max = 1000,
       .note = "strings or {\"text\"}"},
      {.name = "top_n", .type = Type::kInteger, .min = 1, .fallback = "all"},
      {.name = "return_documents",
       .type = Type::kBool,
       .fallback = "true; false at /v2/rerank",
       .note = "the document's text with each result"},
      {.name = "max_tokens_per_doc",
       .type = Type::kInteger,
       .min = 1,
       .fallback = "the context",
       .note = "cuts a document's end"},
      {.name = "instruction",
       .type = Type::kString,
       .fallback = "Qwen3-Reranker's for web search",
       .note = "of rerankers"},
      {.name = "rank_fields", .status = Status::kRefused, .note = "documents are texts"},
      {.name = "max_chunks_per_doc", .status = Status::kIgnored, .note = "documents are not split"},
      {.name = "truncation", .status = Status::kIgnored},
      {.name = "priority", .status = Status::kIgnored},
      {.name = "user", .status = Status::kIgnored},
  };
  return table;
}

void rerank_jina(Call call) { rerank(std::move(call), true); }
void rerank_cohere(Call call) { rerank(std::move(call), false); }

}  // namespace sampan
