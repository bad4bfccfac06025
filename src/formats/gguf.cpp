#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "base/error.h"
#include "formats/byte_reader.h"

namespace sampan {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kMaxCount = 1u << 20;
constexpr int kMaxArrayDepth = 4;
constexpr std::uint64_t kMaxDimensions = 4;
constexpr std::uint64_t kMinAlignment = 8, kMaxAlignment = 65536;
// The least bytes that a metadata entry and a tensor description take (names of one byte).
constexpr std::uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

struct TypeCode {
  std::uint32_t code;
  DType dtype;
};
constexpr std::array<TypeCode, 21> kTypeCodes = {{
    {0, DType::kF32},     {1, DType::kF16},     {2, DType::kQ4_0},  {3, DType::kQ4_1},
    {6, DType::kQ5_0},    {7, DType::kQ5_1},    {8, DType::kQ8_0},  {10, DType::kQ2_K},
    {11, DType::kQ3_K},   {12, DType::kQ4_K},   {13, DType::kQ5_K}, {14, DType::kQ6_K},
    {20, DType::kIQ4_NL}, {23, DType::kIQ4_XS}, {24, DType::kI8},   {25, DType::kI16},
    {26, DType::kI32},    {27, DType::kI64},    {28, DType::kF64},  {30, DType::kBF16},
    {39, DType::kMXFP4},
}};

// Names of types that exist but are not read here, for the message only.
std::string_view unread_type_name(std::uint32_t code) {
  switch (code) {
    case 9:
      return "Q8_1";
    case 15:
      return "Q8_K";
    case 16:
      return "IQ2_XXS";
    case 17:
      return "IQ2_XS";
    case 18:
      return "IQ3_XXS";
    case 19:
      return "IQ1_S";
    case 21:
      return "IQ3_S";
    case 22:
      return "IQ2_S";
    case 29:
      return "IQ1_M";
    case 34:
      return "TQ1_0";
    case 35:
      return "TQ2_0";
    case 40:
      return "NVFP4";
    default:
      return "unknown";
  }
}

// Bytes of a value of fixed size; 0 for strings and arrays.
std::uint64_t fixed_size(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

ReadLabel key_label(std::string_view key) { return {"metadata key", key}; }

GgufType take_type(ByteReader& reader, std::string_view key) {
  const auto code = reader.take<std::uint32_t>(key_label(key));
  if (code > static_cast<std::uint32_t>(GgufType::kF64)) {
    fail(ErrorCode::kInvalidData, "gguf: metadata key {}: value type {} is not 0 to 12",
         printable(key), code);
  }
  return static_cast<GgufType>(code);
}

std::string_view take_name(ByteReader& reader, const char* what) {
  const auto bytes = reader.take<std::uint64_t>(what);
  if (bytes == 0) fail(ErrorCode::kInvalidData, "gguf: {} is empty", what);
  if (bytes > kMaxGgufNameBytes) {
    fail(ErrorCode::kInvalidData, "gguf: {}: {} bytes long, at most {} are allowed", what, bytes,
         kMaxGgufNameBytes);
  }
  return reader.take_text(bytes, what);
}

void skip_elements(ByteReader& reader, std::string_view key, GgufType type, std::uint64_t count,
                   int depth);

void skip_array(ByteReader& reader, std::string_view key, int depth) {
  if (depth > kMaxArrayDepth) {
    fail(ErrorCode::kInvalidData, "gguf: metadata key {}: arrays nested deeper than {}",
         printable(key), kMaxArrayDepth);
  }
  const GgufType type = take_type(reader, key);
  const auto count = reader.take<std::uint64_t>(key_label(key));
  skip_elements(reader, key, type, count, depth);
}

void skip_elements(ByteReader& reader, std::string_view key, GgufType type, std::uint64_t count,
                   int depth) {
  if (const std::uint64_t size = fixed_size(type); size != 0) {
    reader.need_each(count, size, key_label(key));
    reader.skip(count * size, key_label(key));
  } else if (type == GgufType::kString) {
    reader.need_each(count, 8, key_label(key));
    for (std::uint64_t i = 0; i < count; ++i) {
      reader.skip(reader.take<std::uint64_t>(key_label(key)), key_label(key));
    }
  } else {
    reader.need_each(count, 12, key_label(key));
    for (std::uint64_t i = 0; i < count; ++i) skip_array(reader, key, depth + 1);
  }
}

GgufEntry take_entry(ByteReader& reader) {
  GgufEntry entry;
  entry.key = take_name(reader, "metadata key");
  entry.type = take_type(reader, entry.key);
  entry.element_type = entry.type;
  if (entry.type == GgufType::kArray) {
    entry.element_type = take_type(reader, entry.key);
    entry.count = reader.take<std::uint64_t>(key_label(entry.key));
  }
  const std::byte* begin = reader.here();
  skip_elements(reader, entry.key, entry.element_type, entry.count, 1);
  entry.value = {begin, reader.here()};
  return entry;
}

DType tensor_dtype(std::string_view name, std::uint32_t code) {
  const std::optional<DType> dtype = dtype_of_ggml_type(code);
  if (!dtype) {
    fail(ErrorCode::kUnsupported, "gguf: tensor {}: ggml type {} ({}) is not supported",
         printable(name), code, unread_type_name(code));
  }
  return *dtype;
}

// The offset is still relative to the data section.
TensorDescriptor take_tensor(ByteReader& reader) {
  TensorDescriptor tensor;
  const std::string_view name = take_name(reader, "tensor name");
  tensor.name = name;
  const ReadLabel label("tensor", name);
  const auto dimensions = reader.take<std::uint32_t>(label);
  if (dimensions > kMaxDimensions) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: {} dimensions, at most {} are allowed",
         printable(name), dimensions, kMaxDimensions);
  }
  tensor.shape.resize(dimensions);
  for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
    *size = reader.take<std::int64_t>(label);
    if (*size < 0) {
      fail(ErrorCode::kInvalidData, "gguf: tensor {}: dimension {} is too large", printable(name),
           static_cast<std::uint64_t>(*size));
    }
  }
  tensor.dtype = tensor_dtype(name, reader.take<std::uint32_t>(label));
  tensor.offset = reader.take<std::uint64_t>(label);

  const std::int64_t block = dtype_info(tensor.dtype).block_elements;
  const std::int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (columns % block != 0) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: rows of {} elements, {} needs a multiple of {}",
         printable(name), columns, dtype_name(tensor.dtype), block);
  }
  const std::optional<std::uint64_t> bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
  if (!bytes) {
    fail(ErrorCode::kInvalidData,
         "gguf: tensor {}: shape {} has more elements than a file can hold", printable(name),
         shape_text(tensor.shape));
  }
  tensor.bytes = *bytes;
  return tensor;
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Checks the place of a tensor in the data section; the tensor before it ends at `end`.
void check_place(const TensorDescriptor& tensor, std::uint64_t end, std::uint64_t data_size,
                 std::uint64_t alignment) {
  if (tensor.offset % alignment != 0) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: offset {} is not a multiple of {}",
         printable(tensor.name), tensor.offset, alignment);
  }
  if (tensor.offset > data_size) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: offset {} in {} bytes of data",
         printable(tensor.name), tensor.offset, data_size);
  }
  if (tensor.bytes > data_size - tensor.offset) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: {} bytes declared, {} left",
         printable(tensor.name), tensor.bytes, data_size - tensor.offset);
  }
  if (tensor.offset != round_up(end, alignment)) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {}: offset {} {}, the data before it ends at {}",
         printable(tensor.name), tensor.offset,
         tensor.offset < end ? "overlaps another tensor" : "leaves a gap", end);
  }
}

// Orders the tensors by offset, checks that they fill the data section (each begins where the one
// before ends, rounded up to the alignment) and makes the offsets absolute.
void place_tensors(std::vector<TensorDescriptor>& tensors, std::uint64_t header_end,
                   std::uint64_t file_size, std::uint64_t alignment) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  const std::uint64_t data_begin = round_up(header_end, alignment);
  if (data_begin > file_size && !tensors.empty()) {
    fail(ErrorCode::kInvalidData, "gguf: the tensors' data begin at {}, the file ends at {}",
         data_begin, file_size);
  }
  const std::uint64_t data_size = file_size > data_begin ? file_size - data_begin : 0;
  std::uint64_t end = 0;
  for (TensorDescriptor& tensor : tensors) {
    check_place(tensor, end, data_size, alignment);
    end = tensor.offset + tensor.bytes;
    tensor.offset += data_begin;
  }
  if (data_size > round_up(end, alignment)) {
    fail(ErrorCode::kInvalidData, "gguf: {} bytes of data, the last tensor ends at {}", data_size,
         end);
  }
}

// Indices of the entries sorted by key; no key may be there twice.
std::vector<std::size_t> order_keys(const std::vector<GgufEntry>& entries) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return entries[a].key < entries[b].key; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const std::string_view key = entries[order[i]].key;
    if (key == entries[order[i - 1]].key) {
      fail(ErrorCode::kInvalidData, "gguf: metadata key {} is there twice", printable(key));
    }
  }
  return order;
}

void check_version(std::uint32_t version) {
  if (version == 2 || version == 3) return;
  if ((version & 0xFFFF) == 0 && version != 0) {
    fail(ErrorCode::kUnsupported, "gguf: a big-endian file; only little-endian files are read");
  }
  if (version == 1) fail(ErrorCode::kUnsupported, "gguf: version 1 is not supported, only 2 and 3");
  fail(ErrorCode::kUnsupported, "gguf: version {} is not supported, only 2 and 3", version);
}

void check_count(ByteReader& reader, std::uint64_t count, std::uint64_t least_bytes,
                 const char* what) {
  reader.need_each(count, least_bytes, what);
  if (count > kMaxCount) {
    fail(ErrorCode::kLimit, "gguf: {} {}, at most {} are read", count, what, kMaxCount);
  }
}

}  // namespace

std::optional<std::uint32_t> ggml_type_of(DType dtype) {
  for (const TypeCode& entry : kTypeCodes) {
    if (entry.dtype == dtype) return entry.code;
  }
  return std::nullopt;
}

std::optional<DType> dtype_of_ggml_type(std::uint32_t ggml_type) {
  for (const TypeCode& entry : kTypeCodes) {
    if (entry.code == ggml_type) return entry.dtype;
  }
  return std::nullopt;
}

GgufFile::GgufFile(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, "gguf");
  if (const auto magic = reader.take<std::uint32_t>("magic number"); magic != kMagic) {
    fail(ErrorCode::kInvalidData, "gguf: the file begins with {:08x}, not with \"GGUF\"", magic);
  }
  version_ = reader.take<std::uint32_t>("version");
  check_version(version_);
  const auto tensor_count = reader.take<std::uint64_t>("tensor count");
  const auto entry_count = reader.take<std::uint64_t>("metadata count");

  check_count(reader, entry_count, kMinEntryBytes, "metadata entries");
  metadata_.reserve(static_cast<std::size_t>(entry_count));
  for (std::uint64_t i = 0; i < entry_count; ++i) metadata_.push_back(take_entry(reader));
  key_order_ = order_keys(metadata_);
  alignment_ = find_u64("general.alignment").value_or(32);
  if (!std::has_single_bit(alignment_) || alignment_ < kMinAlignment ||
      alignment_ > kMaxAlignment) {
    fail(ErrorCode::kInvalidData, "gguf: general.alignment {} is not a power of two from {} to {}",
         alignment_, kMinAlignment, kMaxAlignment);
  }

  check_count(reader, tensor_count, kMinTensorBytes, "tensors");
  tensors_.reserve(static_cast<std::size_t>(tensor_count));
  for (std::uint64_t i = 0; i < tensor_count; ++i) tensors_.push_back(take_tensor(reader));
  if (const std::string* const twin = find_twin_name(tensors_)) {
    fail(ErrorCode::kInvalidData, "gguf: tensor {} is there twice", printable(*twin));
  }
  place_tensors(tensors_, reader.position(), bytes.size(), alignment_);
}

}  // namespace sampan
