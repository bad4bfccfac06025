#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxSmallFile = 16u << 20;

std::string_view view(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::optional<std::string> read_if_present(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  return read_file(path, kMaxSmallFile);
}

TokenizerConfig read_config(const fs::path& folder, bool with_added_tokens) {
  TokenizerConfig config;
  if (const auto text = read_if_present(folder / "tokenizer_config.json"))
    read_tokenizer_config(*text, config);
  if (const auto text = read_if_present(folder / "special_tokens_map.json"))
    read_special_tokens_map(*text, config);
  if (!with_added_tokens) return config;
  if (const auto text = read_if_present(folder / "added_tokens.json"))
    read_added_tokens(*text, config);
  return config;
}

std::shared_ptr<const Tokenizer> load_from_folder(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) {
    const MappedFile file(folder / "tokenizer.json");
    const auto config = read_if_present(folder / "tokenizer_config.json");
    return load_tokenizer_json(view(file), config ? std::string_view(*config) : std::string_view());
  }
  if (fs::exists(folder / "tiktoken.model")) {
    const MappedFile file(folder / "tiktoken.model");
    return load_tiktoken(view(file), read_config(folder, false));
  }
  if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) {
    const MappedFile vocab(folder / "vocab.json");
    const MappedFile merges(folder / "merges.txt");
    return load_vocab_and_merges(view(vocab), view(merges), read_config(folder, true));
  }
  fail(ErrorCode::kNotFound,
       "no tokenizer.json, tiktoken.model or vocab.json with merges.txt in it");
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& folder) {
  try {
    return load_from_folder(folder);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", printable(folder.string(), 300), error.what()));
  } catch (const fs::filesystem_error& error) {
    fail(ErrorCode::kIo, "{}: {}", printable(folder.string(), 300), error.code().message());
  }
}

}  // namespace sampan
