#include "hub/model_name.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxIdPartBytes = 96;    // Hugging Face's own limit for a repository id
constexpr std::size_t kMaxRepositoryBytes = 150;  // so that names of our own files stay below 255
constexpr std::size_t kMaxRevisionBytes =
    240;  // as a file name, with three bytes for a special one

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_component(std::string_view text) {
  if (text.empty() || text.size() > kMaxIdPartBytes) return false;
  if (text.front() == '.' || text.front() == '-' || text.back() == '.') return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

bool is_revision(std::string_view text) {
  if (text.empty()) return false;
  if (text.front() == '/' || text.front() == '-' || text.front() == '.' || text.back() == '/')
    return false;
  if (text.find("..") != std::string_view::npos || text.find("//") != std::string_view::npos)
    return false;
  std::size_t encoded_bytes = 0;
  for (const char c : text) {
    const bool plain = is_alphanumeric(c) || c == '.' || c == '-' || c == '_';
    if (!plain && c != '/' && c != '+' && c != '@') return false;
    encoded_bytes += plain ? 1 : 3;
  }
  return encoded_bytes <= kMaxRevisionBytes;
}

bool consume_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Turns a hub's web address into the prefixed form that the parser proper reads; other text comes
// back unchanged.
std::string from_web_address(std::string_view text) {
  std::string_view prefix;
  if (consume_prefix(text, "https://huggingface.co/")) {
    prefix = "hf:";
  } else if (consume_prefix(text, "https://www.modelscope.cn/models/") ||
             consume_prefix(text, "https://modelscope.cn/models/")) {
    prefix = "ms:";
  } else {
    return std::string(text);
  }
  text = text.substr(0, text.find_first_of("?#"));
  if (text.ends_with('/')) text.remove_suffix(1);
  std::string name(text);
  if (const auto tree = name.find("/tree/"); tree != std::string::npos) name.replace(tree, 6, ":");
  return std::string(prefix) + name;
}

struct Parsed {
  ModelName name;
  std::string problem;  // empty when name is good
};

Parsed parse(std::string_view original) {
  const std::string normalized = from_web_address(original);
  std::string_view text = normalized;
  Parsed out;
  bool has_prefix = true;
  if (consume_prefix(text, "ms:")) {
    out.name.hub = Hub::kModelScope;
  } else if (!consume_prefix(text, "hf:")) {
    has_prefix = false;
  }
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    out.name.revision = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (!is_revision(out.name.revision))
      out.problem = "the revision after ':' is not a branch, tag or commit";
  }
  const auto slash = text.find('/');
  const bool may_lack_org = has_prefix && out.name.hub == Hub::kHuggingFace;
  if (slash == std::string_view::npos && !may_lack_org) {
    out.problem =
        "a model is named org/name, hf:org/name or ms:org/name, each with an optional :revision";
    return out;
  }
  if (slash != std::string_view::npos) {
    out.name.org = text.substr(0, slash);
    if (!is_component(out.name.org)) out.problem = "the owner before '/' is not a hub account name";
    text.remove_prefix(slash + 1);
  }
  out.name.name = text;
  if (!is_component(out.name.name) ||
      out.name.org.size() + out.name.name.size() > kMaxRepositoryBytes) {
    out.problem = "the repository name is not one that a hub allows";
  }
  return out;
}

}  // namespace

std::string_view hub_prefix(Hub hub) { return hub == Hub::kHuggingFace ? "hf" : "ms"; }

std::string_view hub_title(Hub hub) {
  return hub == Hub::kHuggingFace ? "Hugging Face" : "ModelScope";
}

std::string ModelName::repository() const { return org.empty() ? name : org + "/" + name; }

std::string ModelName::to_string() const {
  std::string text = std::string(hub_prefix(hub)) + ":" + repository();
  if (!revision.empty()) text += ":" + revision;
  return text;
}

std::string ModelName::revision_or_main() const {
  if (!revision.empty()) return revision;
  return hub == Hub::kHuggingFace ? "main" : "master";
}

ModelName parse_model_name(std::string_view text) {
  Parsed parsed = parse(text);
  if (!parsed.problem.empty()) {
    fail(ErrorCode::kInvalidArgument, "model name \"{}\": {}", printable(text), parsed.problem);
  }
  return std::move(parsed.name);
}

std::optional<ModelName> try_parse_model_name(std::string_view text) {
  Parsed parsed = parse(text);
  if (!parsed.problem.empty()) return std::nullopt;
  return std::move(parsed.name);
}

bool is_commit_id(std::string_view text) {
  if (text.size() != 40 && text.size() != 64) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace sampan
