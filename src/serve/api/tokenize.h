#pragma once

#include "serve/api/route.h"

namespace sampan {

const FieldTable& tokenize_fields();
const FieldTable& detokenize_fields();
void tokenize_text(Call call);
void detokenize_ids(Call call);
void tokenizer_info(Call call);

}  // namespace sampan
