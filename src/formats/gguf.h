#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_descriptor.h"

namespace sampan {

// The format's limit for the names of keys and tensors.
inline constexpr std::size_t kMaxGgufNameBytes = 65535;

// The value types of GGUF metadata; the numbers are the file's.
enum class GgufType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

std::string_view gguf_type_name(GgufType type);  // "u8", "string", "array"

// The ggml type code of a dtype that GGUF can hold, or nullopt (BOOL, U8, F8 …), and the way back.
std::optional<std::uint32_t> ggml_type_of(DType dtype);
std::optional<DType> dtype_of_ggml_type(std::uint32_t ggml_type);

// One key of the metadata with its value as it lies in the file.
struct GgufEntry {
  std::string_view key;
  GgufType type = GgufType::kU8;
  GgufType element_type = GgufType::kU8;  // of an array; else equal to type
  std::uint64_t count = 1;                // elements of an array; else 1
  std::span<const std::byte> value;       // the elements, without the array's type and count
};

// A GGUF file of version 2 or 3 (little-endian): typed metadata and tensor descriptors. A pure
// parser: bytes in, views out; `bytes` must outlive it. Everything is checked when it is made:
// counts, lengths and offsets against the file before anything is allocated, no duplicate keys or
// names, tensors in one run without overlaps or gaps beyond the alignment's padding. Strings are
// views into the file and may hold any bytes. Immutable, thread-safe.
class GgufFile {
 public:
  // Throws Error kInvalidData for a broken file, kUnsupported for version 1, big-endian files and
  // tensor types that this program does not read, kLimit for more than a million keys or tensors.
  explicit GgufFile(std::span<const std::byte> bytes);

  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  const std::vector<GgufEntry>& metadata() const { return metadata_; }       // in file order
  const std::vector<TensorDescriptor>& tensors() const { return tensors_; }  // in offset order

  const GgufEntry* find(std::string_view key) const;  // nullptr when the key is absent

  // The value of a key, nullopt when it is absent. Throws Error kInvalidData when it is of another
  // type or does not fit: integers are taken from every integer width, floats from both widths and
  // from integers.
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::uint64_t> find_u64(std::string_view key) const;
  std::optional<std::int64_t> find_i64(std::string_view key) const;
  std::optional<double> find_f64(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<std::int64_t>> find_i64s(std::string_view key) const;
  std::optional<std::vector<double>> find_f64s(std::string_view key) const;
  std::optional<std::vector<bool>> find_bools(std::string_view key) const;

  // As above for a key that must be there: throws Error kInvalidData "gguf: metadata key
  // llama.block_count is missing".
  std::string_view string(std::string_view key) const;
  std::uint64_t u64(std::string_view key) const;
  double f64(std::string_view key) const;

  // A value on one line for people: numbers, quoted text, "[1, 2, 3, … 150000 i32]" for arrays.
  // Control characters are escaped; strings are cut at max_bytes.
  std::string value_text(const GgufEntry& entry, std::size_t max_bytes = 80) const;

 private:
  std::vector<GgufEntry> metadata_;
  std::vector<std::size_t> key_order_;  // indices into metadata_, sorted by key
  std::vector<TensorDescriptor> tensors_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
};

}  // namespace sampan
