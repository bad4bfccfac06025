#include "formats/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "formats/byte_reader.h"

namespace sampan {
namespace {

namespace dom = simdjson::dom;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr std::size_t kMaxNameBytes = 4096;
constexpr std::size_t kMaxShape = 16;
constexpr std::size_t kMaxDepth = 8;  // { tensor: { shape: [ is 3

// Parses JSON whose root is an object; the result lives as long as the parser.
dom::object parse_object(dom::parser& parser, std::string_view json, std::string_view format) {
  simdjson::error_code error = parser.allocate(std::max<std::size_t>(json.size(), 64), kMaxDepth);
  dom::element root;
  if (error == simdjson::SUCCESS) error = parser.parse(json.data(), json.size()).get(root);
  if (error == simdjson::DEPTH_ERROR) {
    fail(ErrorCode::kInvalidData, "{}: JSON nested deeper than {}", format, kMaxDepth);
  }
  if (error != simdjson::SUCCESS) {
    fail(ErrorCode::kInvalidData, "{}: the header is not valid JSON: {}", format,
         simdjson::error_message(error));
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    fail(ErrorCode::kInvalidData, "{}: the JSON is not an object", format);
  }
  return object;
}

void check_name(std::string_view name, std::string_view format) {
  if (name.empty()) fail(ErrorCode::kInvalidData, "{}: a tensor name is empty", format);
  if (name.size() > kMaxNameBytes) {
    fail(ErrorCode::kInvalidData, "{}: tensor {}: a name of {} bytes, at most {} are allowed",
         format, printable(name, 40), name.size(), kMaxNameBytes);
  }
}

[[noreturn]] void fail_tensor(std::string_view name, std::string_view problem) {
  fail(ErrorCode::kInvalidData, "safetensors: tensor {}: {}", printable(name), problem);
}

// The values of one tensor's object; duplicates of a known field are an error, unknown fields are
// let be, both as in the reference reader.
struct TensorFields {
  dom::element dtype, shape, data_offsets;
};

TensorFields tensor_fields(std::string_view name, dom::element value) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) fail_tensor(name, "not an object");
  TensorFields fields;
  int dtypes = 0, shapes = 0, offsets = 0;
  for (const dom::key_value_pair field : object) {
    if (field.key == "dtype") fields.dtype = field.value, ++dtypes;
    if (field.key == "shape") fields.shape = field.value, ++shapes;
    if (field.key == "data_offsets") fields.data_offsets = field.value, ++offsets;
  }
  if (dtypes != 1) fail_tensor(name, fmt::format("\"dtype\" is there {} times, not once", dtypes));
  if (shapes != 1) fail_tensor(name, fmt::format("\"shape\" is there {} times, not once", shapes));
  if (offsets != 1) {
    fail_tensor(name, fmt::format("\"data_offsets\" is there {} times, not once", offsets));
  }
  return fields;
}

DType tensor_dtype(std::string_view name, dom::element value) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) fail_tensor(name, "\"dtype\" is not a string");
  const std::optional<DType> dtype = dtype_from_name(text);
  if (!dtype || is_block_type(*dtype)) {
    fail(ErrorCode::kUnsupported, "safetensors: tensor {}: dtype {} is not supported",
         printable(name), printable(text, 20));
  }
  return *dtype;
}

Shape tensor_shape(std::string_view name, dom::element value) {
  dom::array sizes;
  if (value.get(sizes) != simdjson::SUCCESS) fail_tensor(name, "\"shape\" is not an array");
  Shape shape;
  for (const dom::element element : sizes) {
    std::int64_t size = 0;
    if (element.get(size) != simdjson::SUCCESS || size < 0) {
      fail_tensor(name, "\"shape\" holds something other than sizes");
    }
    if (shape.size() == kMaxShape) {
      fail_tensor(name, fmt::format("more than {} dimensions", kMaxShape));
    }
    shape.push_back(size);
  }
  return shape;
}

std::pair<std::uint64_t, std::uint64_t> tensor_offsets(std::string_view name, dom::element value) {
  dom::array offsets;
  if (value.get(offsets) != simdjson::SUCCESS) {
    fail_tensor(name, "\"data_offsets\" is not an array");
  }
  std::uint64_t ends[2] = {0, 0};
  std::size_t count = 0;
  for (const dom::element element : offsets) {
    if (count == 2 || element.get(ends[count]) != simdjson::SUCCESS) {
      fail_tensor(name, "\"data_offsets\" is not a pair of offsets");
    }
    ++count;
  }
  if (count != 2) fail_tensor(name, "\"data_offsets\" is not a pair of offsets");
  if (ends[1] < ends[0]) {
    fail_tensor(name,
                fmt::format("data_offsets end at {}, before they begin at {}", ends[1], ends[0]));
  }
  return {ends[0], ends[1]};
}

// The offset is still relative to the data that follow the header.
TensorDescriptor make_tensor(std::string_view name, dom::element value, std::uint64_t data_size) {
  const TensorFields fields = tensor_fields(name, value);
  TensorDescriptor tensor;
  tensor.name = name;
  tensor.dtype = tensor_dtype(name, fields.dtype);
  tensor.shape = tensor_shape(name, fields.shape);
  const auto [begin, end] = tensor_offsets(name, fields.data_offsets);
  const std::optional<std::uint64_t> bytes = checked_tensor_bytes(tensor.dtype, tensor.shape);
  if (!bytes) {
    fail_tensor(name, fmt::format("shape {} has more elements than a file can hold",
                                  shape_text(tensor.shape)));
  }
  if (end - begin != *bytes) {
    fail_tensor(name,
                fmt::format("{} {} takes {} bytes, data_offsets give {}", dtype_name(tensor.dtype),
                            shape_text(tensor.shape), *bytes, end - begin));
  }
  if (end > data_size) {
    fail_tensor(name,
                fmt::format("data end at {}, the file holds {} bytes of data", end, data_size));
  }
  tensor.offset = begin;
  tensor.bytes = *bytes;
  return tensor;
}

std::vector<std::pair<std::string, std::string>> parse_metadata(dom::element value) {
  std::vector<std::pair<std::string, std::string>> metadata;
  if (value.is_null()) return metadata;
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) {
    fail(ErrorCode::kInvalidData, "safetensors: __metadata__ is not an object");
  }
  for (const dom::key_value_pair field : object) {
    std::string_view text;
    if (field.value.get(text) != simdjson::SUCCESS) {
      fail(ErrorCode::kInvalidData, "safetensors: __metadata__ {} is not a string",
           printable(field.key));
    }
    metadata.emplace_back(field.key, text);
  }
  return metadata;
}

// By place in the file; empty tensors come before the one that begins where they lie.
void sort_by_offset(std::vector<TensorDescriptor>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
}

// Checks that the tensors, in order, fill the data section exactly.
void check_tiling(const std::vector<TensorDescriptor>& tensors, std::uint64_t data_size) {
  std::uint64_t end = 0;
  for (const TensorDescriptor& tensor : tensors) {
    if (tensor.offset != end) {
      fail_tensor(
          tensor.name,
          fmt::format("data begin at {} {}, the data before end at {}", tensor.offset,
                      tensor.offset < end ? "and overlap another tensor" : "after a gap", end));
    }
    end = tensor.offset + tensor.bytes;
  }
  if (end != data_size) {
    fail(ErrorCode::kInvalidData, "safetensors: {} bytes of data, the last tensor ends at {}",
         data_size, end);
  }
}

void check_shard_name(std::string_view name) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (name.empty() || name.size() > 255 || name.front() == '.' ||
      name.find_first_of("/\\") != std::string_view::npos ||
      std::any_of(name.begin(), name.end(), control) || !name.ends_with(".safetensors")) {
    fail(ErrorCode::kInvalidData,
         "safetensors index: \"{}\" is not the plain name of a .safetensors file", printable(name));
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, "safetensors");
  const auto header_size = reader.take<std::uint64_t>("header length");
  if (header_size > reader.left()) {
    fail(ErrorCode::kInvalidData, "safetensors: header of {} bytes declared, {} left", header_size,
         reader.left());
  }
  if (header_size > kMaxHeaderBytes) {
    fail(ErrorCode::kLimit, "safetensors: header of {} bytes, at most {} are read", header_size,
         kMaxHeaderBytes);
  }
  const std::string_view header = reader.take_text(header_size, "header");
  if (!header.starts_with('{')) {
    fail(ErrorCode::kInvalidData, "safetensors: the header does not begin with {{");
  }
  const std::uint64_t data_begin = reader.position();
  const std::uint64_t data_size = reader.left();

  dom::parser parser(kMaxHeaderBytes + 64);
  bool has_metadata = false;
  for (const dom::key_value_pair field : parse_object(parser, header, "safetensors")) {
    if (field.key == "__metadata__") {
      if (has_metadata) fail(ErrorCode::kInvalidData, "safetensors: __metadata__ is there twice");
      has_metadata = true;
      metadata_ = parse_metadata(field.value);
    } else {
      check_name(field.key, "safetensors");
      tensors_.push_back(make_tensor(field.key, field.value, data_size));
    }
  }
  if (const std::string* const twin = find_twin_name(tensors_)) fail_tensor(*twin, "is there twice");
  sort_by_offset(tensors_);
  check_tiling(tensors_, data_size);
  for (TensorDescriptor& tensor : tensors_) tensor.offset += data_begin;
}

SafetensorsIndex::SafetensorsIndex(std::string_view json) {
  dom::parser parser;
  dom::element map_element;
  int maps = 0;
  for (const dom::key_value_pair field : parse_object(parser, json, "safetensors index")) {
    if (field.key == "weight_map") map_element = field.value, ++maps;
  }
  if (maps != 1) {
    fail(ErrorCode::kInvalidData, "safetensors index: \"weight_map\" is there {} times, not once",
         maps);
  }
  dom::object map;
  if (map_element.get(map) != simdjson::SUCCESS) {
    fail(ErrorCode::kInvalidData, "safetensors index: \"weight_map\" is not an object");
  }

  std::vector<std::pair<std::string_view, std::string_view>> pairs;  // tensor, shard
  for (const dom::key_value_pair field : map) {
    check_name(field.key, "safetensors index");
    std::string_view shard;
    if (field.value.get(shard) != simdjson::SUCCESS) {
      fail(ErrorCode::kInvalidData, "safetensors index: the file of tensor {} is not a string",
           printable(field.key));
    }
    check_shard_name(shard);
    pairs.emplace_back(field.key, shard);
    shards_.emplace_back(shard);
  }
  std::sort(shards_.begin(), shards_.end());
  shards_.erase(std::unique(shards_.begin(), shards_.end()), shards_.end());
  std::sort(pairs.begin(), pairs.end());
  for (const auto& [tensor, shard] : pairs) {
    if (!entries_.empty() && entries_.back().tensor == tensor) {
      fail(ErrorCode::kInvalidData, "safetensors index: tensor {} is there twice",
           printable(tensor));
    }
    const auto place = std::lower_bound(shards_.begin(), shards_.end(), shard);
    entries_.push_back({std::string(tensor), static_cast<std::size_t>(place - shards_.begin())});
  }
}

}  // namespace sampan
