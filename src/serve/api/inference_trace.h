#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/api/answers.h"

namespace sampan {

// Spans of what a call infers, within the request's, by OpenTelemetry's GenAI conventions (in
// development, as of 2026-05). They tell names, numbers and how it ended: nothing that was asked or
// answered, stop sequences included. Named "chat MODEL" where the request names a served model,
// else "chat": clients' words make no names.

// The writer, with a span that follows what it is told and ends with it; the writer itself where
// the request is not recorded.
std::unique_ptr<AnswerWriter> with_span(const Call& call,
                                        const std::vector<InferenceRequest>& requests,
                                        const std::optional<std::string>& served_name,
                                        std::unique_ptr<AnswerWriter> writer);

// Of texts that are read for vectors or logits, by a served model; null where the request is not
// recorded.
std::shared_ptr<ActiveSpan> begin_pooling_span(const Call& call, const std::string& model);

// error.type: the API's code, else the status.
std::string error_type(const ApiError& error);

}  // namespace sampan
