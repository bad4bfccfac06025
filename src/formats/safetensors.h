#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/tensor_descriptor.h"

namespace sampan {

// A safetensors file: descriptors of its tensors and its string metadata. A pure parser: bytes in,
// descriptors out (they hold no pointers). Checked when it is made: the header's length against the
// file and 100,000,000 bytes, JSON and nesting, duplicate names, shape × dtype = bytes, and that
// the tensors tile the data exactly, without gaps or overlaps. Scalars (shape []) and empty tensors
// are legal. Immutable, thread-safe.
class SafetensorsFile {
 public:
  // Throws Error kInvalidData for a broken file, kUnsupported for element types that this program
  // does not read.
  explicit SafetensorsFile(std::span<const std::byte> bytes);

  const std::vector<TensorDescriptor>& tensors() const { return tensors_; }  // in offset order
  // "__metadata__", in file order.
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }

 private:
  std::vector<TensorDescriptor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

// model.safetensors.index.json: which file of a sharded checkpoint holds which tensor. A shard name
// is a plain file name that ends in .safetensors (no separators, no leading dot), so that no index
// can lead out of its folder.
class SafetensorsIndex {
 public:
  struct Entry {
    std::string tensor;
    std::size_t shard = 0;  // index into shards()
  };

  // Throws Error kInvalidData "safetensors index: …".
  explicit SafetensorsIndex(std::string_view json);

  const std::vector<std::string>& shards() const { return shards_; }  // sorted
  const std::vector<Entry>& entries() const { return entries_; }      // sorted by tensor name

 private:
  std::vector<std::string> shards_;
  std::vector<Entry> entries_;
};

}  // namespace sampan
