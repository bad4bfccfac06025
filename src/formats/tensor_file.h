#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "formats/tensor_descriptor.h"

namespace sampan {

// The weights of a model as published, memory-mapped: a safetensors file, a sharded safetensors
// checkpoint, a GGUF file or a split GGUF. Tensors are found by the names that the files use. Views
// stay valid for the object's life; moving it does not move them. Immutable after it is made,
// thread-safe.
class TensorFiles {
 public:
  // path is one of
  //   a folder       model.safetensors; else the shards of model.safetensors.index.json; else its
  //   only *.safetensors file;
  //                  else its only *.gguf file (or the first of its only split GGUF)
  //   *.safetensors  that file
  //   a GGUF file    that file; when split.count says that it is split, all its shards (path must
  //   then be the first,
  //                  NAME-00001-of-0000N.gguf)
  // Throws Error: kNotFound naming the file that is missing; kInvalidData "FILE: …" for a broken
  // file, a tensor that two files hold, or one that is not in the shard that the index names;
  // kUnsupported for other kinds of files.
  static TensorFiles open(const std::filesystem::path& path);

  const std::vector<TensorDescriptor>& tensors() const { return tensors_; }  // by file, then offset
  const TensorDescriptor* find(std::string_view name) const;                 // nullptr when absent
  std::optional<TensorView> find_view(std::string_view name) const;
  TensorView view(const TensorDescriptor& tensor) const;

  const std::vector<MappedFile>& files() const { return files_; }
  std::uint64_t total_bytes() const;  // of all files

  // The (first) GGUF file with the model's metadata; nullptr for safetensors.
  const GgufFile* gguf() const { return gguf_ ? &*gguf_ : nullptr; }
  // "__metadata__" of the (first) safetensors file.
  const std::vector<std::pair<std::string, std::string>>& safetensors_metadata() const {
    return safetensors_metadata_;
  }

 private:
  TensorFiles() = default;
  int add_safetensors(const std::filesystem::path& path);
  void open_folder(const std::filesystem::path& folder);
  void open_index(const std::filesystem::path& folder);
  void open_gguf(const std::filesystem::path& path);
  GgufFile add_gguf(MappedFile file);
  void build_name_order();

  std::vector<MappedFile> files_;
  std::vector<TensorDescriptor> tensors_;
  std::vector<std::size_t> name_order_;  // indices into tensors_, sorted by name
  std::optional<GgufFile> gguf_;
  std::vector<std::pair<std::string, std::string>> safetensors_metadata_;
};

}  // namespace sampan
