#include "hub/selection.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "hub/file_system.h"

namespace sampan {
namespace {

constexpr std::array<std::string_view, 18> kOtherWeights = {
    ".bin", ".pth", ".pt", ".ckpt",  ".pkl",    ".pickle",  ".joblib",  ".onnx",      ".onnx_data",
    ".h5",  ".npz", ".ot", ".keras", ".tflite", ".msgpack", ".mlmodel", ".mlpackage", ".engine"};
constexpr std::array<std::string_view, 11> kPictures = {
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4", ".webm", ".pdf", ".wav", ".mp3"};
// The same weights again, for other programs.
constexpr std::array<std::string_view, 8> kOtherFolders = {
    "original/", "metal/", "onnx/", "openvino/", "coreml/", "runs/", ".cache/", "consolidated/"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view file_name(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

template <std::size_t n>
bool has_suffix(std::string_view path, const std::array<std::string_view, n>& suffixes) {
  const std::string name = lower(path);
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

bool is_safetensors(std::string_view path) { return lower(path).ends_with(".safetensors"); }

bool is_gguf(std::string_view path) { return lower(path).ends_with(".gguf"); }

// A GGUF file that goes with a model and is none itself.
bool is_gguf_companion(std::string_view path) {
  const std::string name = lower(file_name(path));
  return name.find("mmproj") != std::string::npos || name.find("imatrix") != std::string::npos;
}

bool in_other_folder(std::string_view path) {
  return std::any_of(kOtherFolders.begin(), kOtherFolders.end(),
                     [&](std::string_view folder) { return path.starts_with(folder); });
}

bool is_clutter(std::string_view path) {
  return has_suffix(path, kPictures) || has_suffix(path, kOtherWeights) || in_other_folder(path) ||
         path.ends_with(".py") || path == ".gitattributes" || path == ".gitignore";
}

template <typename Predicate>
std::vector<RepoFile> filter(const std::vector<RepoFile>& files, Predicate&& keep) {
  std::vector<RepoFile> out;
  std::copy_if(files.begin(), files.end(), std::back_inserter(out), keep);
  return out;
}

std::vector<RepoFile> select_safetensors(const std::vector<RepoFile>& files) {
  // Mistral publishes its shards twice: model-*.safetensors and consolidated*.safetensors.
  const bool has_model = std::any_of(files.begin(), files.end(), [](const RepoFile& file) {
    return is_safetensors(file.path) && file.path.starts_with("model");
  });
  return filter(files, [&](const RepoFile& file) {
    if (is_clutter(file.path) || is_gguf(file.path)) return false;
    return !(has_model && file.path.starts_with("consolidated") && is_safetensors(file.path));
  });
}

std::vector<RepoFile> select_gguf(const std::vector<RepoFile>& files) {
  std::map<std::string, std::uint64_t> models;  // with their bytes
  for (const RepoFile& file : files) {
    if (is_gguf(file.path) && !is_gguf_companion(file.path))
      models[gguf_model_of(file.path)] += file.size;
  }
  if (models.size() > 1) {
    std::string choices;
    std::size_t named = 0;
    for (const auto& [model, bytes] : models) {
      if (++named > 40) break;
      choices += fmt::format("{}{} ({})", named == 1 ? "" : ", ", printable(model, 120),
                             format_bytes(bytes));
    }
    if (models.size() > 40) choices += ", …";
    fail(ErrorCode::kInvalidArgument,
         "{} GGUF models to choose from; name one with --include '*NAME*': {}", models.size(),
         choices);
  }
  return filter(files, [&](const RepoFile& file) {
    if (is_gguf(file.path)) return !is_gguf_companion(file.path);
    return !is_clutter(file.path);
  });
}

bool is_included(const RepoFile& file, std::string_view pattern) {
  const bool whole_path = pattern.find('/') != std::string_view::npos;
  return glob_match(pattern, file.path) ||
         (!whole_path && glob_match(pattern, file_name(file.path)));
}

std::vector<RepoFile> select_included(const std::vector<RepoFile>& files,
                                      const std::vector<std::string>& include) {
  for (const std::string& pattern : include) {
    if (std::any_of(files.begin(), files.end(),
                    [&](const RepoFile& file) { return is_included(file, pattern); })) {
      continue;
    }
    std::string some;
    for (std::size_t i = 0; i < std::min<std::size_t>(files.size(), 12); ++i) {
      some += (i == 0 ? "" : ", ") + printable(files[i].path);
    }
    fail(ErrorCode::kNotFound, "--include \"{}\" matches none of the {} files: {}{}",
         printable(pattern), files.size(), some, files.size() > 12 ? ", …" : "");
  }
  return filter(files, [&](const RepoFile& file) {
    return std::any_of(include.begin(), include.end(),
                       [&](const std::string& pattern) { return is_included(file, pattern); });
  });
}

// The end of a bracket expression that begins at pattern[at] == '[', or npos; matched tells whether
// c is in it.
std::size_t match_bracket(std::string_view pattern, std::size_t at, char c, bool& matched) {
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (bool first = true; i < pattern.size() && (first || pattern[i] != ']'); first = false) {
    const char low = pattern[i];
    char high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      high = pattern[i + 2];
      i += 2;
    }
    ++i;
    const auto byte = [](char x) { return static_cast<unsigned char>(x); };
    found = found || (byte(low) <= byte(c) && byte(c) <= byte(high));
  }
  if (i >= pattern.size()) return std::string_view::npos;
  matched = found != negated;
  return i;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos,
              star_text = 0;  // where to go back to: the last '*' takes one byte more
  while (t < text.size()) {
    bool matched = false;
    std::size_t next = p + 1;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      std::size_t end = std::string_view::npos;
      if (pattern[p] == '[') end = match_bracket(pattern, p, text[t], matched);
      if (end != std::string_view::npos) {
        next = end + 1;
      } else {
        matched = pattern[p] == '?' || pattern[p] == text[t];
      }
    }
    if (matched) {
      p = next;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string gguf_model_of(std::string_view path) {
  std::string_view stem = path.substr(0, path.size() - std::string_view(".gguf").size());
  // "-00001-of-00005"
  constexpr std::size_t kShard = 15;
  if (stem.size() > kShard && glob_match("-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]",
                                         stem.substr(stem.size() - kShard))) {
    stem.remove_suffix(kShard);
  }
  return std::string(stem);
}

std::vector<RepoFile> select_files(const std::vector<RepoFile>& files,
                                   const std::vector<std::string>& include) {
  if (!include.empty()) return select_included(files, include);
  const auto any = [&](auto&& test) {
    return std::any_of(files.begin(), files.end(),
                       [&](const RepoFile& file) { return test(file.path); });
  };
  if (any([](const std::string& path) { return is_safetensors(path) && !is_clutter(path); })) {
    return select_safetensors(files);
  }
  if (any([](const std::string& path) { return is_gguf(path) && !is_gguf_companion(path); }))
    return select_gguf(files);
  if (any([](const std::string& path) { return has_suffix(path, kOtherWeights); })) {
    fail(ErrorCode::kUnsupported,
         "no safetensors and no GGUF weights, only formats that Sampan does not read; --include "
         "GLOB downloads files "
         "all the same");
  }
  return filter(files, [](const RepoFile& file) { return !is_clutter(file.path); });
}

}  // namespace sampan
