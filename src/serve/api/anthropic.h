#pragma once

#include "serve/api/answers.h"

namespace sampan {

const FieldTable& anthropic_fields();
const FieldTable& anthropic_count_fields();
const FieldTable& anthropic_message_fields();

void anthropic_messages(Call call);
void anthropic_count_tokens(Call call);

// The conversation as templates want it: blocks become texts, calls of tools and their results, in
// their order. A last message of the assistant is continued. Throws ApiError naming the block.
ChatPrompt anthropic_prompt(const Body& body);

}  // namespace sampan
