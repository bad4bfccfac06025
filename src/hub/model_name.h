#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sampan {

enum class Hub { kHuggingFace, kModelScope };

// "hf" or "ms": the prefix in names and the folder in the local store.
std::string_view hub_prefix(Hub hub);
// "Hugging Face" or "ModelScope", for messages.
std::string_view hub_title(Hub hub);

// A model repository on a hub, optionally at a revision (branch, tag or commit). Every part has
// been checked to be safe as a path component and in a URL, so code that receives a ModelName need
// not check again.
struct ModelName {
  Hub hub = Hub::kHuggingFace;
  std::string org;  // empty only for Hugging Face's few old repositories without an owner (hf:gpt2)
  std::string name;
  std::string revision;  // empty: the hub's default branch

  std::string repository() const;  // "org/name", or "name" without an owner
  std::string to_string() const;   // "hf:org/name" or "hf:org/name:revision"
  // Revision, or "main" (Hugging Face), "master" (ModelScope).
  std::string revision_or_main() const;
  bool operator==(const ModelName&) const = default;
};

// Understands "hf:org/name[:revision]", "ms:org/name[:revision]", "org/name[:revision]" (Hugging
// Face) and the web addresses of both hubs (https://huggingface.co/org/name[/tree/revision]).
// Throws Error kInvalidArgument that says what is wrong.
ModelName parse_model_name(std::string_view text);

// The same, but nothing where the text is no such name.
std::optional<ModelName> try_parse_model_name(std::string_view text);

// Whether text is a full commit id: 40 or 64 lower-case hexadecimal digits.
bool is_commit_id(std::string_view text);

}  // namespace sampan
