#include "formats/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "formats/safetensors.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = 256u << 20;

std::string file_text(const fs::path& path) { return printable(path.filename().string(), 255); }

// Runs a parser and puts the file's name before what it says.
template <typename Parse>
auto parse_file(const fs::path& path, Parse parse) {
  try {
    return parse();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", file_text(path), error.what());
  }
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool begins_with_gguf(const MappedFile& file) {
  return file.bytes().size() >= 4 && std::memcmp(file.bytes().data(), "GGUF", 4) == 0;
}

// NAME-00002-of-00005.gguf
struct SplitName {
  std::string stem;  // "NAME"
  std::uint64_t number = 0;
  std::uint64_t count = 0;
};

std::optional<SplitName> parse_split_name(const fs::path& path) {
  constexpr std::size_t kSuffixBytes = std::string_view("-00001-of-00002.gguf").size();
  const std::string name = path.filename().string();
  if (name.size() <= kSuffixBytes) return std::nullopt;
  const std::string_view suffix = std::string_view(name).substr(name.size() - kSuffixBytes);
  const auto digits = [](std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (suffix[0] != '-' || !digits(suffix.substr(1, 5)) || suffix.substr(6, 4) != "-of-" ||
      !digits(suffix.substr(10, 5)) || suffix.substr(15) != ".gguf") {
    return std::nullopt;
  }
  return SplitName{name.substr(0, name.size() - kSuffixBytes),
                   std::stoull(std::string(suffix.substr(1, 5))),
                   std::stoull(std::string(suffix.substr(10, 5)))};
}

std::string split_file_name(const SplitName& name, std::uint64_t number) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, number, name.count);
}

void check_split_key(const fs::path& path, const GgufFile& gguf, std::string_view key,
                     std::uint64_t expected) {
  const std::uint64_t value = parse_file(path, [&] { return gguf.u64(key); });
  if (value != expected) {
    fail(ErrorCode::kInvalidData, "{}: gguf: {} is {}, not {}", file_text(path), key, value,
         expected);
  }
}

// The files of a folder with this extension, sorted; of a split GGUF only the first.
std::vector<fs::path> files_with_extension(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() != extension || !is_file(path)) continue;
    if (const auto split = parse_split_name(path); split && split->number != 1) continue;
    found.push_back(path);
  }
  if (error) {
    fail(ErrorCode::kIo, "{}: {}", printable(folder.string(), 300), error.message());
  }
  std::sort(found.begin(), found.end());
  return found;
}

[[noreturn]] void fail_no_weights(const fs::path& folder, std::size_t safetensors,
                                  std::size_t ggufs) {
  const std::string name = printable(folder.string(), 300);
  if (safetensors > 1) {
    fail(ErrorCode::kNotFound, "{}: {} .safetensors files but no {}", name, safetensors,
         kIndexName);
  }
  if (ggufs > 1) {
    fail(ErrorCode::kInvalidArgument, "{}: {} .gguf files; name one of them", name, ggufs);
  }
  if (is_file(folder / "pytorch_model.bin") || is_file(folder / "pytorch_model.bin.index.json")) {
    fail(ErrorCode::kUnsupported,
         "{}: pickled weights (pytorch_model.bin) are never read; get the safetensors files", name);
  }
  fail(ErrorCode::kNotFound, "{}: no model.safetensors, {} or .gguf file", name, kIndexName);
}

}  // namespace

TensorFiles TensorFiles::open(const fs::path& path) {
  TensorFiles result;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    result.open_folder(path);
  } else if (path.extension() == ".safetensors") {
    result.add_safetensors(path);
  } else {
    result.open_gguf(path);
  }
  result.build_name_order();
  return result;
}

void TensorFiles::open_folder(const fs::path& folder) {
  if (is_file(folder / "model.safetensors")) {
    add_safetensors(folder / "model.safetensors");
    return;
  }
  if (is_file(folder / kIndexName)) {
    open_index(folder);
    return;
  }
  const std::vector<fs::path> safetensors = files_with_extension(folder, ".safetensors");
  if (safetensors.size() == 1) {
    add_safetensors(safetensors[0]);
    return;
  }
  const std::vector<fs::path> ggufs = files_with_extension(folder, ".gguf");
  if (!safetensors.empty() || ggufs.size() != 1) {
    fail_no_weights(folder, safetensors.size(), ggufs.size());
  }
  open_gguf(ggufs[0]);
}

int TensorFiles::add_safetensors(const fs::path& path) {
  const int number = static_cast<int>(files_.size());
  files_.emplace_back(path);
  SafetensorsFile parsed = parse_file(path, [&] { return SafetensorsFile(files_.back().bytes()); });
  if (number == 0) safetensors_metadata_ = parsed.metadata();
  for (TensorDescriptor tensor : parsed.tensors()) {
    tensor.file = number;
    tensors_.push_back(std::move(tensor));
  }
  return number;
}

void TensorFiles::open_index(const fs::path& folder) {
  const fs::path index_path = folder / kIndexName;
  const std::string json = read_file(index_path, kMaxIndexBytes);
  const SafetensorsIndex index = parse_file(index_path, [&] { return SafetensorsIndex(json); });
  for (const std::string& shard : index.shards()) {
    std::error_code error;
    if (!fs::exists(folder / shard, error)) {
      fail(ErrorCode::kNotFound, "{}: the shard is missing, {} names it",
           printable((folder / shard).string(), 300), kIndexName);
    }
    add_safetensors(folder / shard);
  }
  build_name_order();
  for (const SafetensorsIndex::Entry& entry : index.entries()) {
    const TensorDescriptor* tensor = find(entry.tensor);
    if (tensor == nullptr || tensor->file != static_cast<int>(entry.shard)) {
      fail(ErrorCode::kInvalidData, "{}: tensor {} is not in {}", kIndexName,
           printable(entry.tensor), printable(index.shards()[entry.shard], 255));
    }
  }
}

GgufFile TensorFiles::add_gguf(MappedFile file) {
  const int number = static_cast<int>(files_.size());
  files_.push_back(std::move(file));
  GgufFile parsed =
      parse_file(files_.back().path(), [&] { return GgufFile(files_.back().bytes()); });
  for (TensorDescriptor tensor : parsed.tensors()) {
    tensor.file = number;
    tensors_.push_back(std::move(tensor));
  }
  return parsed;
}

void TensorFiles::open_gguf(const fs::path& path) {
  MappedFile file(path);
  if (!begins_with_gguf(file) && path.extension() != ".gguf") {
    fail(ErrorCode::kUnsupported, "{}: neither a GGUF nor a .safetensors file",
         printable(path.string(), 300));
  }
  gguf_ = add_gguf(std::move(file));
  const std::uint64_t count =
      parse_file(path, [&] { return gguf_->find_u64("split.count").value_or(1); });
  if (count <= 1) return;

  const std::optional<SplitName> name = parse_split_name(path);
  if (!name) {
    fail(ErrorCode::kInvalidData,
         "{}: one of {} files of a split GGUF, but not named NAME-00001-of-{:05}.gguf",
         file_text(path), count, count);
  }
  if (name->number != 1) {
    fail(ErrorCode::kInvalidArgument, "{}: not the first file of a split GGUF; name {}",
         file_text(path), printable(split_file_name(*name, 1), 255));
  }
  check_split_key(path, *gguf_, "split.no", 0);
  check_split_key(path, *gguf_, "split.count", name->count);
  for (std::uint64_t number = 2; number <= name->count; ++number) {
    const fs::path shard = path.parent_path() / split_file_name(*name, number);
    const GgufFile parsed = add_gguf(MappedFile(shard));
    check_split_key(shard, parsed, "split.no", number - 1);
    check_split_key(shard, parsed, "split.count", name->count);
  }
  check_split_key(path, *gguf_, "split.tensors.count", tensors_.size());
}

void TensorFiles::build_name_order() {
  name_order_.resize(tensors_.size());
  std::iota(name_order_.begin(), name_order_.end(), std::size_t{0});
  std::sort(name_order_.begin(), name_order_.end(),
            [&](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
  for (std::size_t i = 1; i < name_order_.size(); ++i) {
    const TensorDescriptor& a = tensors_[name_order_[i - 1]];
    const TensorDescriptor& b = tensors_[name_order_[i]];
    if (a.name != b.name) continue;
    fail(ErrorCode::kInvalidData, "tensor {} is in {} and in {}", printable(a.name),
         file_text(files_[static_cast<std::size_t>(std::min(a.file, b.file))].path()),
         file_text(files_[static_cast<std::size_t>(std::max(a.file, b.file))].path()));
  }
}

const TensorDescriptor* TensorFiles::find(std::string_view name) const {
  const auto place = std::lower_bound(
      name_order_.begin(), name_order_.end(), name,
      [&](std::size_t index, std::string_view wanted) { return tensors_[index].name < wanted; });
  if (place == name_order_.end() || tensors_[*place].name != name) return nullptr;
  return &tensors_[*place];
}

TensorView TensorFiles::view(const TensorDescriptor& tensor) const {
  const MappedFile& file = files_[static_cast<std::size_t>(tensor.file)];
  return {tensor.dtype, tensor.shape, file.bytes().data() + tensor.offset};
}

std::optional<TensorView> TensorFiles::find_view(std::string_view name) const {
  const TensorDescriptor* tensor = find(name);
  if (tensor == nullptr) return std::nullopt;
  return view(*tensor);
}

std::uint64_t TensorFiles::total_bytes() const {
  std::uint64_t bytes = 0;
  for (const MappedFile& file : files_) bytes += file.bytes().size();
  return bytes;
}

}  // namespace sampan
