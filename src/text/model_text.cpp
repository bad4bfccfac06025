#include "text/model_text.h"

#include "base/error.h"
#include "formats/tensor_file.h"
#include "text/gguf_tokenizer.h"

namespace sampan {
namespace {

constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

// The GGUF side of a model, or nothing for a folder of Hugging Face files. A folder with a
// tokenizer of its own is read as such even when its weights are GGUF.
std::optional<TensorFiles> open_gguf(const std::filesystem::path& model) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(model, ignored)) {
    return model.extension() == ".safetensors" ? std::nullopt
                                               : std::optional(TensorFiles::open(model));
  }
  for (const char* file :
       {"tokenizer.json", "tiktoken.model", "vocab.json", "config.json", "tokenizer_config.json"}) {
    if (std::filesystem::exists(model / file, ignored)) return std::nullopt;
  }
  return TensorFiles::open(model);
}

std::filesystem::path folder_of(const std::filesystem::path& model) {
  return std::filesystem::is_directory(model) ? model : model.parent_path();
}

std::shared_ptr<const Tokenizer> gguf_tokenizer(const GgufFile& gguf) {
  GgufTokenizerData data;
  const std::optional<std::string_view> model = gguf.find_string("tokenizer.ggml.model");
  if (!model) fail(ErrorCode::kNotFound, "gguf: the file has no tokenizer (tokenizer.ggml.model)");
  data.model = *model;
  data.pre = gguf.find_string("tokenizer.ggml.pre").value_or("");
  data.tokens =
      gguf.find_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{});
  for (const std::int64_t type :
       gguf.find_i64s("tokenizer.ggml.token_type").value_or(std::vector<std::int64_t>{})) {
    data.token_types.push_back(static_cast<std::int32_t>(type));
  }
  data.merges =
      gguf.find_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>{});
  data.bos_id = gguf.find_i64("tokenizer.ggml.bos_token_id");
  data.eos_id = gguf.find_i64("tokenizer.ggml.eos_token_id");
  data.eot_id = gguf.find_i64("tokenizer.ggml.eot_token_id");
  data.padding_id = gguf.find_i64("tokenizer.ggml.padding_token_id");
  data.add_bos = gguf.find_bool("tokenizer.ggml.add_bos_token");
  data.add_eos = gguf.find_bool("tokenizer.ggml.add_eos_token");
  return tokenizer_from_gguf(data);
}

// GGUF names special tokens by id; templates ask for them by name.
std::map<std::string, std::string> gguf_special_tokens(const GgufFile& gguf) {
  std::map<std::string, std::string> tokens;
  const std::vector<std::string_view> vocabulary =
      gguf.find_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{});
  for (const auto& [key, name] : {std::pair{"tokenizer.ggml.bos_token_id", "bos_token"},
                                  {"tokenizer.ggml.eos_token_id", "eos_token"},
                                  {"tokenizer.ggml.padding_token_id", "pad_token"},
                                  {"tokenizer.ggml.unknown_token_id", "unk_token"}}) {
    const std::optional<std::int64_t> id = gguf.find_i64(key);
    if (id && *id >= 0 && static_cast<std::size_t>(*id) < vocabulary.size()) {
      tokens[name] = std::string(vocabulary[static_cast<std::size_t>(*id)]);
    }
  }
  return tokens;
}

ChatTemplates gguf_templates(const GgufFile& gguf) {
  std::vector<std::pair<std::string, std::string>> named;
  for (const GgufEntry& entry : gguf.metadata()) {
    if (entry.type != GgufType::kString || !entry.key.starts_with(kTemplateKey) ||
        entry.key.size() <= kTemplateKey.size() + 1)
      continue;
    named.emplace_back(entry.key.substr(kTemplateKey.size() + 1),
                       std::string(gguf.string(entry.key)));
  }
  return chat_templates_from_strings(std::string(gguf.find_string(kTemplateKey).value_or("")),
                                     std::move(named), gguf_special_tokens(gguf));
}

}  // namespace

std::shared_ptr<const Tokenizer> load_model_tokenizer(const std::filesystem::path& model) {
  const std::optional<TensorFiles> gguf = open_gguf(model);
  return gguf && gguf->gguf() != nullptr ? gguf_tokenizer(*gguf->gguf())
                                         : load_tokenizer(folder_of(model));
}

ChatTemplates load_model_templates(const std::filesystem::path& model) {
  const std::optional<TensorFiles> gguf = open_gguf(model);
  return gguf && gguf->gguf() != nullptr ? gguf_templates(*gguf->gguf())
                                         : load_chat_templates(folder_of(model));
}

ModelText load_model_text(const std::filesystem::path& model) {
  ModelText text;
  text.tokenizer = load_model_tokenizer(model);
  const ChatTemplates templates = load_model_templates(model);
  if (templates.sources.empty()) return text;
  ChatTemplateOptions options;
  options.special_tokens = templates.special_tokens;
  const std::string& usual = templates.choose(/*with_tools=*/false);
  const std::string& for_tools = templates.choose(/*with_tools=*/true);
  text.chat_template = ChatTemplate::parse(usual, options);
  text.tool_template =
      for_tools == usual ? text.chat_template : ChatTemplate::parse(for_tools, options);
  return text;
}

}  // namespace sampan
