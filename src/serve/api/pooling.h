#pragma once

#include <functional>
#include <vector>

#include "serve/api/route.h"

namespace sampan {

// Reads the texts (at least one) for vectors or logits and responds with what `render` makes of the
// results; the one way of all dialects. Long lists go to the service in parts, so that they do not
// fill its queue. Ends the work when the client goes.
using RenderPooling = std::function<Json(std::vector<PoolingResult>& results, double seconds)>;
void start_pooling(const Call& call, std::vector<PoolingRequest> requests, RenderPooling render);

// How a model's hidden states become a vector: of the last token for embedding models (their name
// has "embed" in it), else the mean.
Pooling pooling_of(const std::string& model_name);
bool is_reranker(const std::string& model_name);

// To length 1. dimensions: how many are kept before that; 0: all.
void normalise(std::vector<float>& vector, std::size_t dimensions = 0);

std::int64_t prompt_tokens(const std::vector<PoolingResult>& results);

}  // namespace sampan
