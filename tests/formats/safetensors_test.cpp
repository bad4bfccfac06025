#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <string>

#include "formats/file_bytes.h"

namespace sampan {
namespace {

using testing_formats::as_bytes;
using testing_formats::Bytes;
using testing_formats::code_of;
using testing_formats::message_of;

std::string file_of(std::string_view header, std::size_t data) {
  return Bytes().text(header).zeros(data).str();
}

std::string parse_message(std::string_view header, std::size_t data) {
  const std::string file = file_of(header, data);
  return message_of([&] { SafetensorsFile{as_bytes(file)}; });
}

constexpr std::string_view kTwoTensors =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )";

TEST(Safetensors, ReadsTensorsInOffsetOrder) {
  const std::string file = file_of(kTwoTensors, 20);
  const SafetensorsFile parsed(as_bytes(file));
  ASSERT_EQ(parsed.tensors().size(), 2u);
  EXPECT_EQ(parsed.tensors()[0].name, "a");
  EXPECT_EQ(parsed.tensors()[0].offset, 8 + kTwoTensors.size());
  EXPECT_EQ(parsed.tensors()[1].dtype, DType::kBF16);
  EXPECT_EQ(parsed.tensors()[1].shape, (Shape{2, 3}));
  EXPECT_EQ(parsed.tensors()[1].bytes, 12u);
  ASSERT_EQ(parsed.metadata().size(), 1u);
  EXPECT_EQ(parsed.metadata()[0].first, "format");
  EXPECT_EQ(parsed.metadata()[0].second, "pt");
}

TEST(Safetensors, ScalarsAndEmptyTensorsAreLegal) {
  const std::string file =
      file_of(R"({"scalar":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
              R"("empty":{"dtype":"F16","shape":[0,7],"data_offsets":[8,8]},)"
              R"("also":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[8,9]}})",
              9);
  const SafetensorsFile parsed(as_bytes(file));
  ASSERT_EQ(parsed.tensors().size(), 3u);
  EXPECT_EQ(parsed.tensors()[0].shape, Shape{});
  EXPECT_EQ(parsed.tensors()[1].name, "empty");
  EXPECT_EQ(parsed.tensors()[2].dtype, DType::kF8E4M3);
  EXPECT_TRUE(SafetensorsFile(as_bytes(file_of("{}", 0))).tensors().empty());
}

TEST(Safetensors, EveryPublishedTypeIsKnown) {
  for (const std::string name : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "I16", "U16",
                                 "F16", "BF16", "I32", "U32", "F32", "I64", "U64", "F64"}) {
    const auto size = static_cast<std::size_t>(dtype_info(*dtype_from_name(name)).block_bytes);
    EXPECT_EQ(
        parse_message("{\"t\":{\"dtype\":\"" + name + "\",\"shape\":[1],\"data_offsets\":[0," +
                          std::to_string(size) + "]}}",
                      size),
        "");
  }
}

TEST(SafetensorsErrors, Header) {
  EXPECT_EQ(message_of([] { SafetensorsFile{as_bytes("123")}; }),
            "safetensors: header length: 8 bytes needed, 3 left");
  const std::string longer = Bytes().u64(1000).raw("{}").str();
  EXPECT_EQ(message_of([&] { SafetensorsFile{as_bytes(longer)}; }),
            "safetensors: header of 1000 bytes declared, 2 left");
  const std::string huge = Bytes().u64(~0ull).raw("{}").str();
  EXPECT_EQ(message_of([&] { SafetensorsFile{as_bytes(huge)}; }),
            "safetensors: header of 18446744073709551615 bytes declared, 2 left");
  EXPECT_EQ(parse_message("", 0), "safetensors: the header does not begin with {");
  EXPECT_EQ(parse_message(" {}", 0), "safetensors: the header does not begin with {");
  EXPECT_EQ(parse_message("[]", 0), "safetensors: the header does not begin with {");
  EXPECT_EQ(parse_message("{\"a\":", 0).substr(0, 43),
            "safetensors: the header is not valid JSON: ");
  EXPECT_EQ(parse_message("{} {}", 0).substr(0, 43), "safetensors: the header is not valid JSON: ");
  EXPECT_EQ(parse_message("{\"a\":[[[[[[[[[[1]]]]]]]]]]}", 0),
            "safetensors: JSON nested deeper than 8");
  EXPECT_NE(parse_message("{\"a\xff\":1}", 0), "");
}

TEST(SafetensorsErrors, HeaderLimit) {
  std::string file(8 + 100'000'001, ' ');
  const std::uint64_t size = 100'000'001;
  std::memcpy(file.data(), &size, 8);
  file[8] = '{';
  EXPECT_EQ(message_of([&] { SafetensorsFile{as_bytes(file)}; }),
            "safetensors: header of 100000001 bytes, at most 100000000 are read");
}

std::string with_tensor(std::string_view fields) { return "{\"t\":{" + std::string(fields) + "}}"; }

TEST(SafetensorsErrors, Tensors) {
  EXPECT_EQ(parse_message("{\"t\":3}", 0), "safetensors: tensor t: not an object");
  EXPECT_EQ(parse_message("{\"\":{}}", 0), "safetensors: a tensor name is empty");
  EXPECT_EQ(parse_message(with_tensor(R"("shape":[1],"data_offsets":[0,4])"), 4),
            "safetensors: tensor t: \"dtype\" is there 0 times, not once");
  EXPECT_EQ(parse_message(
                with_tensor(R"("dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4])"), 4),
            "safetensors: tensor t: \"dtype\" is there 2 times, not once");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[1],"offsets":[0,4])"), 4),
            "safetensors: tensor t: \"data_offsets\" is there 0 times, not once");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F4","shape":[1],"data_offsets":[0,4])"), 4),
            "safetensors: tensor t: dtype F4 is not supported");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"Q4_0","shape":[32],"data_offsets":[0,18])"), 18),
            "safetensors: tensor t: dtype Q4_0 is not supported");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4),
            "safetensors: tensor t: \"shape\" holds something other than sizes");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), 4),
            "safetensors: tensor t: \"shape\" holds something other than sizes");
  EXPECT_EQ(
      parse_message(
          with_tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0),
      "safetensors: tensor t: shape [4294967296, 4294967296] has more elements than a file can "
      "hold");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4),
            "safetensors: tensor t: \"data_offsets\" is not a pair of offsets");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), 4),
            "safetensors: tensor t: \"data_offsets\" is not a pair of offsets");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4),
            "safetensors: tensor t: data_offsets end at 0, before they begin at 4");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[2,3],"data_offsets":[0,20])"), 20),
            "safetensors: tensor t: F32 [2, 3] takes 24 bytes, data_offsets give 20");
  EXPECT_EQ(parse_message(with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 4),
            "safetensors: tensor t: data end at 8, the file holds 4 bytes of data");
  EXPECT_EQ(
      parse_message(
          with_tensor(
              R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])"),
          1),
      "safetensors: tensor t: more than 16 dimensions");
}

std::string with_two(std::string_view first, std::string_view second, std::string_view name = "b") {
  return "{\"a\":{\"dtype\":\"U8\"," + std::string(first) + "},\"" + std::string(name) +
         "\":{\"dtype\":\"U8\"," + std::string(second) + "}}";
}

TEST(SafetensorsErrors, Tiling) {
  const std::string a = R"("shape":[4],"data_offsets":[0,4])";
  EXPECT_EQ(parse_message(with_two(a, R"("shape":[4],"data_offsets":[4,8])", "a"), 8),
            "safetensors: tensor a: is there twice");
  EXPECT_EQ(parse_message(with_two(a, R"("shape":[4],"data_offsets":[4,8])", "\\u0061"), 8),
            "safetensors: tensor a: is there twice");
  EXPECT_EQ(parse_message(with_two(a, R"("shape":[4],"data_offsets":[2,6])"), 6),
            "safetensors: tensor b: data begin at 2 and overlap another tensor, the data before "
            "end at 4");
  EXPECT_EQ(parse_message(with_two(a, R"("shape":[4],"data_offsets":[6,10])"), 10),
            "safetensors: tensor b: data begin at 6 after a gap, the data before end at 4");
  EXPECT_EQ(parse_message(with_two(a, R"("shape":[4],"data_offsets":[4,8])"), 9),
            "safetensors: 9 bytes of data, the last tensor ends at 8");
  EXPECT_EQ(parse_message("{}", 1), "safetensors: 1 bytes of data, the last tensor ends at 0");
}

TEST(SafetensorsErrors, Metadata) {
  EXPECT_EQ(parse_message(R"({"__metadata__":{"a":1}})", 0),
            "safetensors: __metadata__ a is not a string");
  EXPECT_EQ(parse_message(R"({"__metadata__":[]})", 0),
            "safetensors: __metadata__ is not an object");
  EXPECT_EQ(parse_message(R"({"__metadata__":{},"__metadata__":{}})", 0),
            "safetensors: __metadata__ is there twice");
  EXPECT_EQ(parse_message(R"({"__metadata__":null})", 0), "");
}

TEST(SafetensorsErrors, EveryTruncation) {
  const std::string file = file_of(kTwoTensors, 20);
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    EXPECT_NE(message_of([&] { SafetensorsFile{as_bytes(cut)}; }), "") << size;
  }
}

TEST(SafetensorsErrors, EveryByteMutated) {
  const std::string file = file_of(kTwoTensors, 20);
  std::size_t refused = 0;
  for (std::size_t i = 0; i < file.size() - 20; ++i) {
    for (int value = 0; value < 256; value += 3) {
      std::string broken = file;
      broken[i] = static_cast<char>(value);
      try {
        const SafetensorsFile parsed(as_bytes(broken));
        for (const TensorDescriptor& tensor : parsed.tensors()) {
          ASSERT_LE(tensor.offset + tensor.bytes, broken.size());
        }
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 5000u);
}

TEST(SafetensorsErrors, DuplicatesAreFoundQuicklyAmongManyTensors) {
  std::string header = "{";
  for (int i = 0; i < 100000; ++i) {
    header +=
        "\"" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
  }
  EXPECT_EQ(parse_message(header + R"("777":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
            "safetensors: tensor 777: is there twice");
}

std::string index_message(std::string_view json) {
  return message_of([&] { SafetensorsIndex{json}; });
}

TEST(SafetensorsIndexTest, ReadsTheWeightMap) {
  const SafetensorsIndex index(
      R"({"metadata":{"total_size":12.0},"weight_map":{)"
      R"("b":"model-00002-of-00002.safetensors","a":"model-00001-of-00002.safetensors",)"
      R"("c":"model-00001-of-00002.safetensors"}})");
  ASSERT_EQ(index.shards().size(), 2u);
  EXPECT_EQ(index.shards()[0], "model-00001-of-00002.safetensors");
  ASSERT_EQ(index.entries().size(), 3u);
  EXPECT_EQ(index.entries()[1].tensor, "b");
  EXPECT_EQ(index.entries()[1].shard, 1u);
  EXPECT_EQ(index.entries()[2].shard, 0u);
}

TEST(SafetensorsIndexTest, ShardNamesStayInTheFolder) {
  for (const std::string name :
       {"../x.safetensors", "a/x.safetensors", "/etc/x.safetensors", "..", "", ".x.safetensors",
        "x.bin", "a\\\\x.safetensors", "a\\u0000.safetensors"}) {
    EXPECT_NE(
        index_message(R"({"weight_map":{"a":")" + name + "\"}}").find("is not the plain name"),
        std::string::npos)
        << name;
  }
  EXPECT_EQ(index_message(R"({"weight_map":{"a":"../x.safetensors"}})"),
            "safetensors index: \"../x.safetensors\" is not the plain name of a .safetensors file");
}

TEST(SafetensorsIndexTest, BrokenFiles) {
  EXPECT_EQ(index_message("{}"), "safetensors index: \"weight_map\" is there 0 times, not once");
  EXPECT_EQ(index_message("[]"), "safetensors index: the JSON is not an object");
  EXPECT_EQ(index_message(R"({"weight_map":3})"),
            "safetensors index: \"weight_map\" is not an object");
  EXPECT_EQ(index_message(R"({"weight_map":{"a":1}})"),
            "safetensors index: the file of tensor a is not a string");
  EXPECT_EQ(index_message(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})"),
            "safetensors index: tensor a is there twice");
  EXPECT_NE(index_message(""), "");
}

}  // namespace
}  // namespace sampan
