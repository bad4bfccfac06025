#pragma once

#include "serve/api/route.h"

namespace sampan {

const FieldTable& rerank_fields();
// Jina's route shows the documents unless told otherwise, Cohere's only when asked to.
void rerank_jina(Call call);
void rerank_cohere(Call call);

}  // namespace sampan
