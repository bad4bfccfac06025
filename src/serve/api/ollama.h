#pragma once

#include <chrono>

#include "serve/api/answers.h"

namespace sampan {

const FieldTable& ollama_generate_fields();
const FieldTable& ollama_chat_fields();
const FieldTable& ollama_message_fields();
const FieldTable& ollama_embed_fields();
const FieldTable& ollama_embeddings_fields();
const FieldTable& ollama_show_fields();

void ollama_root(Call call);
void ollama_version(Call call);
void ollama_tags(Call call);
void ollama_ps(Call call);
void ollama_show(Call call);
void ollama_generate(Call call);
void ollama_chat(Call call);
void ollama_embed(Call call);
void ollama_embeddings(Call call);

// "5m", "1h30m", "-1" or a number of seconds; negative: for ever. Nothing where the request says
// nothing. Throws ApiError.
std::optional<std::chrono::milliseconds> ollama_keep_alive(const Body& body);

// Seconds as the nanoseconds that Ollama's replies count.
std::int64_t nanoseconds(double seconds);
std::string ollama_now();

}  // namespace sampan
