#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "tensor/tensor.h"

namespace sampan {

// Writes a GGUF file of version 3: first the metadata and the tensors' descriptions, then their
// bytes, streamed in the order of the descriptions. The file grows under a temporary name beside
// `path` and takes its name in finish(), so that no half-written model is ever found under it;
// without finish() the temporary file is removed. Not thread-safe.
//
//   GgufWriter writer(path);
//   writer.add_string("general.architecture", "qwen3");
//   writer.add_tensor("output_norm.weight", DType::kF32, {1024});
//   writer.write(bytes);   // as often as needed, in pieces of any size
//   writer.finish();
//
// Errors: kInvalidArgument for duplicate keys or tensors, shapes and types that GGUF cannot hold;
// kIo and kPermission for the disk ("…: No space left on device; 300 of 4096 bytes written"). Calls
// in the wrong order are our bugs (CHECK).
class GgufWriter {
 public:
  explicit GgufWriter(std::filesystem::path path);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  void add_string(std::string_view key, std::string_view value);
  void add_u32(std::string_view key, std::uint32_t value);
  void add_u64(std::string_view key, std::uint64_t value);
  void add_i32(std::string_view key, std::int32_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_strings(std::string_view key, std::span<const std::string> values);
  void add_u32s(std::string_view key, std::span<const std::uint32_t> values);
  void add_i32s(std::string_view key, std::span<const std::int32_t> values);
  void add_f32s(std::string_view key, std::span<const float> values);
  void add_bools(std::string_view key, const std::vector<bool>& values);
  // Copies a value of another file as it is; general.alignment is left out, this writer aligns
  // to 32.
  void add_entry(const GgufEntry& entry);

  // Describes the next tensor. shape: outermost first, at most four dimensions.
  void add_tensor(std::string_view name, DType dtype, const Shape& shape);

  // Bytes of the whole file, known once everything is described.
  std::uint64_t file_bytes() const;

  // The next bytes of the tensors, without padding (the writer adds it). The first call ends the
  // descriptions.
  void write(std::span<const std::byte> bytes);

  // Checks that every byte was written, flushes to the disk and gives the file its name.
  void finish();

 private:
  struct Tensor {
    std::string name;
    std::uint64_t bytes = 0;
  };

  void add_key(std::string_view key, GgufType type);
  void add_array(std::string_view key, GgufType element_type, std::uint64_t count);
  void check_new(std::vector<std::string>& seen, std::string_view name, std::string_view what);
  void begin_data();
  void pad_tensor();
  void put(const void* data, std::size_t size);
  [[noreturn]] void fail_io(int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_path_;
  int fd_ = -1;
  std::string metadata_;
  std::string descriptions_;
  std::vector<std::string> keys_;   // sorted
  std::vector<std::string> names_;  // sorted
  std::vector<Tensor> tensors_;
  std::uint64_t data_bytes_ = 0;  // of the data section, padded
  bool data_begun_ = false;
  std::size_t current_ = 0;          // index of the tensor being written
  std::uint64_t current_bytes_ = 0;  // of it that are written
  std::uint64_t file_bytes_written_ = 0;
};

}  // namespace sampan
