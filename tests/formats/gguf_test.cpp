#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/file_bytes.h"

namespace sampan {
namespace {

using testing_formats::as_bytes;
using testing_formats::Bytes;
using testing_formats::code_of;
using testing_formats::message_of;

constexpr std::uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;
constexpr std::uint32_t kGgmlF32 = 0, kGgmlQ4_K = 12;

// The parts of a file, each of which a test may break.
struct Parts {
  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::uint64_t tensors = 0;
  std::uint64_t entries = 0;
  Bytes metadata, descriptions, data;
  std::size_t alignment = 32;

  Parts& entry_u32(std::string_view key, std::uint32_t value) {
    metadata.text(key).u32(kU32).u32(value);
    ++entries;
    return *this;
  }
  Parts& entry_string(std::string_view key, std::string_view value) {
    metadata.text(key).u32(kString).text(value);
    ++entries;
    return *this;
  }
  Parts& tensor(std::string_view name, std::vector<std::uint64_t> ne, std::uint32_t type,
                std::uint64_t offset) {
    descriptions.text(name).u32(static_cast<std::uint32_t>(ne.size()));
    for (const std::uint64_t size : ne) descriptions.u64(size);
    descriptions.u32(type).u64(offset);
    ++tensors;
    return *this;
  }
  std::string str() const {
    Bytes file;
    file.u32(magic).u32(version).u64(tensors).u64(entries);
    file.raw(metadata.str()).raw(descriptions.str()).pad(alignment).raw(data.str());
    return file.str();
  }
};

Parts two_tensors() {
  Parts parts;
  parts.entry_string("general.architecture", "llama").entry_u32("llama.block_count", 2);
  parts.tensor("a", {3, 2}, kGgmlF32, 0).tensor("b", {256}, kGgmlQ4_K, 32);
  parts.data.zeros(32 + 144).pad(32);
  return parts;
}

std::string parse_message(const std::string& file) {
  return message_of([&] { GgufFile{as_bytes(file)}; });
}
ErrorCode parse_code(const std::string& file) {
  return code_of([&] { GgufFile{as_bytes(file)}; });
}

TEST(Gguf, ReadsTensorsOutermostFirstWithAbsoluteOffsets) {
  const std::string file = two_tensors().str();
  const GgufFile gguf(as_bytes(file));
  EXPECT_EQ(gguf.version(), 3u);
  ASSERT_EQ(gguf.tensors().size(), 2u);
  const TensorDescriptor& a = gguf.tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.shape, (Shape{2, 3}));
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_EQ(a.bytes, 24u);
  EXPECT_EQ(a.offset % 32, 0u);
  const TensorDescriptor& b = gguf.tensors()[1];
  EXPECT_EQ(b.dtype, DType::kQ4_K);
  EXPECT_EQ(b.offset, a.offset + 32);
  EXPECT_EQ(b.bytes, 144u);
}

TEST(Gguf, ReadsVersion2AndFilesWithoutPaddingAtTheEnd) {
  Parts parts = two_tensors();
  parts.version = 2;
  std::string file = parts.str();
  file.resize(file.size() - 16);  // 144 bytes of Q4_K, padded to 160
  EXPECT_EQ(GgufFile(as_bytes(file)).version(), 2u);
}

TEST(Gguf, ReadsFilesWithoutTensors) {
  Parts parts;
  parts.entry_u32("x", 1);
  std::string file = parts.str();
  EXPECT_EQ(GgufFile(as_bytes(file)).u64("x"), 1u);
  file.resize(24 + parts.metadata.str().size());
  EXPECT_EQ(GgufFile(as_bytes(file)).u64("x"), 1u);
}

TEST(Gguf, OrdersTensorsByOffset) {
  Parts parts;
  parts.tensor("second", {8}, kGgmlF32, 32).tensor("first", {8}, kGgmlF32, 0).data.zeros(64);
  const std::string file = parts.str();
  EXPECT_EQ(GgufFile(as_bytes(file)).tensors()[0].name, "first");
}

TEST(Gguf, HonoursAnotherAlignment) {
  Parts parts;
  parts.alignment = 4096;
  parts.entry_u32("general.alignment", 4096);
  parts.tensor("a", {1}, kGgmlF32, 0).tensor("b", {1}, kGgmlF32, 4096).data.zeros(4100);
  const std::string file = parts.str();
  const GgufFile gguf(as_bytes(file));
  EXPECT_EQ(gguf.alignment(), 4096u);
  EXPECT_EQ(gguf.tensors()[1].offset, 8192u);
}

TEST(Gguf, ScalarsAndEmptyTensorsAreLegal) {
  Parts parts;
  parts.tensor("scalar", {}, kGgmlF32, 0).tensor("empty", {0, 5}, kGgmlF32, 32);
  parts.data.zeros(32);
  const std::string file = parts.str();
  const GgufFile gguf(as_bytes(file));
  EXPECT_EQ(gguf.tensors()[0].shape, Shape{});
  EXPECT_EQ(gguf.tensors()[0].bytes, 4u);
  EXPECT_EQ(gguf.tensors()[1].shape, (Shape{5, 0}));
  EXPECT_EQ(gguf.tensors()[1].bytes, 0u);
}

class GgufMetadata : public ::testing::Test {
 protected:
  GgufMetadata() {
    add("u8", 0).put<std::uint8_t>(200);
    add("i8", 1).put<std::int8_t>(-5);
    add("u16", 2).put<std::uint16_t>(60000);
    add("i16", 3).put<std::int16_t>(-600);
    add("u32", 4).u32(4000000000);
    add("i32", 5).put<std::int32_t>(-7);
    add("f32", 6).put<float>(0.5f);
    add("bool", 7).put<std::uint8_t>(1);
    add("string", 8).text("two\nlines");
    add("u64", 10).u64(~0ull);
    add("i64", 11).put<std::int64_t>(-9);
    add("f64", 12).put<double>(0.25);
    add("strings", kArray).u32(kString).u64(3).text("a").text("").text("ccc");
    add("ints", kArray).u32(kI32).u64(2).put<std::int32_t>(-1).put<std::int32_t>(2);
    add("floats", kArray).u32(kF32).u64(1).put<float>(1.5f);
    add("bools", kArray).u32(kBool).u64(2).raw(std::string_view("\1\0", 2));
    add("nested", kArray).u32(kArray).u64(1).u32(kU32).u64(1).u32(5);
    file_ = parts_.str();
    gguf_.emplace(as_bytes(file_));
  }
  Bytes& add(std::string_view key, std::uint32_t type) {
    ++parts_.entries;
    return parts_.metadata.text(key).u32(type);
  }

  Parts parts_;
  std::string file_;
  std::optional<GgufFile> gguf_;
};

TEST_F(GgufMetadata, IntegersComeFromEveryWidth) {
  EXPECT_EQ(gguf_->find_u64("u8"), 200u);
  EXPECT_EQ(gguf_->find_i64("i8"), -5);
  EXPECT_EQ(gguf_->find_u64("u16"), 60000u);
  EXPECT_EQ(gguf_->find_i64("i16"), -600);
  EXPECT_EQ(gguf_->find_u64("u32"), 4000000000u);
  EXPECT_EQ(gguf_->find_i64("i32"), -7);
  EXPECT_EQ(gguf_->find_u64("u64"), ~0ull);
  EXPECT_EQ(gguf_->find_i64("i64"), -9);
  EXPECT_EQ(gguf_->find_u64("absent"), std::nullopt);
}

TEST_F(GgufMetadata, OtherTypes) {
  EXPECT_EQ(gguf_->find_f64("f32"), 0.5);
  EXPECT_EQ(gguf_->find_f64("f64"), 0.25);
  EXPECT_EQ(gguf_->find_f64("i32"), -7.0);
  EXPECT_EQ(gguf_->find_f64("u64"), 18446744073709551615.0);
  EXPECT_EQ(gguf_->find_bool("bool"), true);
  EXPECT_EQ(gguf_->find_string("string"), "two\nlines");
  EXPECT_EQ(gguf_->find_strings("strings"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(gguf_->find_i64s("ints"), (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(gguf_->find_f64s("floats"), (std::vector<double>{1.5}));
  EXPECT_EQ(gguf_->find_f64s("ints"), (std::vector<double>{-1, 2}));
  EXPECT_EQ(gguf_->find_bools("bools"), (std::vector<bool>{true, false}));
  EXPECT_EQ(gguf_->find_strings("absent"), std::nullopt);
}

TEST_F(GgufMetadata, WrongTypesAreNamed) {
  EXPECT_EQ(message_of([&] { gguf_->find_u64("i8"); }), "gguf: metadata key i8: -5 is negative");
  EXPECT_EQ(message_of([&] { gguf_->find_i64("u64"); }),
            "gguf: metadata key u64: 18446744073709551615 is too large");
  EXPECT_EQ(message_of([&] { gguf_->find_u64("string"); }),
            "gguf: metadata key string is of type string, not an integer");
  EXPECT_EQ(message_of([&] { gguf_->find_string("ints"); }),
            "gguf: metadata key ints is an array of i32, not a string");
  EXPECT_EQ(message_of([&] { gguf_->find_strings("u8"); }),
            "gguf: metadata key u8 is of type u8, not an array of strings");
  EXPECT_EQ(message_of([&] { gguf_->find_i64s("floats"); }),
            "gguf: metadata key floats is an array of f32, not an array of integers");
  EXPECT_EQ(message_of([&] { gguf_->string("absent"); }), "gguf: metadata key absent is missing");
}

TEST_F(GgufMetadata, ValuesAsText) {
  const auto text = [&](std::string_view key) { return gguf_->value_text(*gguf_->find(key)); };
  EXPECT_EQ(text("i32"), "-7");
  EXPECT_EQ(text("bool"), "true");
  EXPECT_EQ(text("f32"), "0.5");
  EXPECT_EQ(text("string"), "\"two\\x0alines\"");
  EXPECT_EQ(text("strings"), "[\"a\", \"\", \"ccc\"]");
  EXPECT_EQ(text("ints"), "[-1, 2]");
  EXPECT_EQ(text("nested"), "[… 1 of type array]");
  EXPECT_EQ(gguf_->metadata().size(), 17u);
  EXPECT_EQ(gguf_->metadata()[0].key, "u8");
}

TEST(GgufErrors, HeaderAndVersions) {
  EXPECT_EQ(parse_message(""), "gguf: magic number: 4 bytes needed, 0 left");
  EXPECT_EQ(parse_message("PK\3\4........................"),
            "gguf: the file begins with 04034b50, not with \"GGUF\"");
  Parts parts;
  parts.version = 1;
  EXPECT_EQ(parse_message(parts.str()), "gguf: version 1 is not supported, only 2 and 3");
  EXPECT_EQ(parse_code(parts.str()), ErrorCode::kUnsupported);
  parts.version = 0x03000000;
  EXPECT_EQ(parse_message(parts.str()),
            "gguf: a big-endian file; only little-endian files are read");
  EXPECT_EQ(parse_code(parts.str()), ErrorCode::kUnsupported);
  parts.version = 4;
  EXPECT_EQ(parse_message(parts.str()), "gguf: version 4 is not supported, only 2 and 3");
}

TEST(GgufErrors, CountsAgainstTheFile) {
  Parts parts;
  parts.entries = ~0ull;
  EXPECT_EQ(
      parse_message(parts.str()),
      "gguf: metadata entries: 18446744073709551615 of at least 14 bytes declared, 8 bytes left");
  parts.entries = 0;
  parts.tensors = 1ull << 40;
  EXPECT_EQ(parse_message(parts.str()),
            "gguf: tensors: 1099511627776 of at least 25 bytes declared, 8 bytes left");
  Parts array;
  array.metadata.text("tokens").u32(kArray).u32(kString).u64(1ull << 60);
  array.entries = 1;
  EXPECT_EQ(
      parse_message(array.str()),
      "gguf: metadata key tokens: 1152921504606846976 of at least 8 bytes declared, 10 bytes left");
}

TEST(GgufErrors, Metadata) {
  Parts twice;
  twice.entry_u32("k", 1).entry_u32("other", 2).entry_u32("k", 3);
  EXPECT_EQ(parse_message(twice.str()), "gguf: metadata key k is there twice");
  Parts type;
  type.metadata.text("k").u32(13).zeros(40);
  type.entries = 1;
  EXPECT_EQ(parse_message(type.str()), "gguf: metadata key k: value type 13 is not 0 to 12");
  Parts string;
  string.metadata.text("k").u32(kString).u64(1000);
  string.entries = 1;
  EXPECT_EQ(parse_message(string.str()), "gguf: metadata key k: 1000 bytes needed, 19 left");
  Parts key;
  key.metadata.u64(1ull << 63).zeros(40);
  key.entries = 1;
  EXPECT_EQ(parse_message(key.str()),
            "gguf: metadata key: 9223372036854775808 bytes long, at most 65535 are allowed");
  Parts deep;
  deep.metadata.text("k").u32(kArray);
  for (int i = 0; i < 5; ++i) deep.metadata.u32(kArray).u64(1);
  deep.metadata.u32(kU32).u64(0);
  deep.entries = 1;
  EXPECT_EQ(parse_message(deep.str()), "gguf: metadata key k: arrays nested deeper than 4");
  Parts alignment;
  alignment.entry_u32("general.alignment", 48);
  EXPECT_EQ(parse_message(alignment.str()),
            "gguf: general.alignment 48 is not a power of two from 8 to 65536");
}

TEST(GgufErrors, TensorDescriptions) {
  const auto message = [](std::vector<std::uint64_t> ne, std::uint32_t type, std::uint64_t offset,
                          std::size_t data) {
    Parts parts;
    parts.tensor("blk.3.attn_q.weight", std::move(ne), type, offset).data.zeros(data);
    return parse_message(parts.str());
  };
  EXPECT_EQ(message({1024}, kGgmlF32, 0, 2048),
            "gguf: tensor blk.3.attn_q.weight: 4096 bytes declared, 2048 left");
  EXPECT_EQ(message({1, 1, 1, 1, 1}, kGgmlF32, 0, 64),
            "gguf: tensor blk.3.attn_q.weight: 5 dimensions, at most 4 are allowed");
  EXPECT_EQ(message({1ull << 63}, kGgmlF32, 0, 64),
            "gguf: tensor blk.3.attn_q.weight: dimension 9223372036854775808 is too large");
  EXPECT_EQ(message({1ull << 31, 1ull << 31, 4}, kGgmlF32, 0, 64),
            "gguf: tensor blk.3.attn_q.weight: shape [4, 2147483648, 2147483648] has more elements "
            "than a file can hold");
  EXPECT_EQ(message({1ull << 62, 0, 1ull << 62}, kGgmlF32, 0, 64),
            "gguf: tensor blk.3.attn_q.weight: shape [4611686018427387904, 0, 4611686018427387904] "
            "has more elements than a file can hold");
  EXPECT_EQ(message({100}, kGgmlQ4_K, 0, 144),
            "gguf: tensor blk.3.attn_q.weight: rows of 100 elements, Q4_K needs a multiple of 256");
  EXPECT_EQ(message({32}, 16, 0, 66),
            "gguf: tensor blk.3.attn_q.weight: ggml type 16 (IQ2_XXS) is not supported");
  EXPECT_EQ(message({32}, 4, 0, 66),
            "gguf: tensor blk.3.attn_q.weight: ggml type 4 (unknown) is not supported");
  EXPECT_EQ(message({1}, kGgmlF32, 4, 64),
            "gguf: tensor blk.3.attn_q.weight: offset 4 is not a multiple of 32");
  EXPECT_EQ(message({1}, kGgmlF32, 1ull << 60, 64),
            "gguf: tensor blk.3.attn_q.weight: offset 1152921504606846976 in 64 bytes of data");
  EXPECT_EQ(
      message({1}, kGgmlF32, 32, 64),
      "gguf: tensor blk.3.attn_q.weight: offset 32 leaves a gap, the data before it ends at 0");
  EXPECT_EQ(message({1}, kGgmlF32, 0, 64), "gguf: 64 bytes of data, the last tensor ends at 4");
}

TEST(GgufErrors, EmptyTensorsLieInsideTheFileToo) {
  Parts parts;
  parts.tensor("empty", {0}, kGgmlF32, 0);
  std::string file = parts.str();
  EXPECT_EQ(parse_message(file), "");
  file.pop_back();
  EXPECT_EQ(parse_message(file), "gguf: the tensors' data begin at 64, the file ends at 63");
  Parts last;
  last.tensor("a", {1}, kGgmlF32, 0).tensor("empty", {0}, kGgmlF32, 32).data.zeros(4);
  EXPECT_EQ(parse_message(last.str()), "gguf: tensor empty: offset 32 in 4 bytes of data");
}

TEST(GgufErrors, TensorsAgainstEachOther) {
  Parts names;
  names.tensor("a", {8}, kGgmlF32, 0).tensor("a", {8}, kGgmlF32, 32).data.zeros(64);
  EXPECT_EQ(parse_message(names.str()), "gguf: tensor a is there twice");
  Parts overlap;
  overlap.tensor("a", {16}, kGgmlF32, 0).tensor("b", {8}, kGgmlF32, 32).data.zeros(64);
  EXPECT_EQ(parse_message(overlap.str()),
            "gguf: tensor b: offset 32 overlaps another tensor, the data before it ends at 64");
  Parts gap;
  gap.tensor("a", {8}, kGgmlF32, 0).tensor("b", {8}, kGgmlF32, 64).data.zeros(96);
  EXPECT_EQ(parse_message(gap.str()),
            "gguf: tensor b: offset 64 leaves a gap, the data before it ends at 32");
}

TEST(GgufErrors, HostileNamesAreEscaped) {
  Parts parts;
  parts.tensor("\x1b[31mred\n", {1024}, kGgmlF32, 0);
  EXPECT_EQ(parse_message(parts.str()),
            "gguf: tensor \\x1b[31mred\\x0a: 4096 bytes declared, 0 left");
}

// Every cut gives an Error (never a crash), every flip of a byte an Error or a file that holds what
// it promises.
TEST(GgufErrors, EveryTruncation) {
  const std::string file = two_tensors().str();
  const std::size_t end_of_data = file.size() - 16;  // the last padding may be missing
  for (std::size_t size = 0; size < end_of_data; ++size) {
    const std::string cut = file.substr(0, size);
    EXPECT_NE(parse_message(cut), "") << size;
  }
}

TEST(GgufErrors, EveryByteMutated) {
  const std::string file = two_tensors().str();
  std::size_t refused = 0;
  for (std::size_t i = 0; i < file.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string broken = file;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      try {
        const GgufFile gguf(as_bytes(broken));
        for (const TensorDescriptor& tensor : gguf.tensors()) {
          ASSERT_LE(tensor.offset + tensor.bytes, broken.size());
        }
        for (const GgufEntry& entry : gguf.metadata()) EXPECT_NE(gguf.value_text(entry), "");
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 200u);
}

TEST(Gguf, ManyTokensAreQuick) {
  Parts parts;
  parts.metadata.text("tokens").u32(kArray).u32(kString).u64(300000);
  for (int i = 0; i < 300000; ++i) parts.metadata.text(std::to_string(i));
  parts.entries = 1;
  const std::string file = parts.str();
  const GgufFile gguf(as_bytes(file));
  const auto tokens = gguf.find_strings("tokens");
  ASSERT_EQ(tokens->size(), 300000u);
  EXPECT_EQ(tokens->back(), "299999");
  // Views into the file, not copies.
  EXPECT_GE(tokens->back().data(), file.data());
  EXPECT_LT(tokens->back().data(), file.data() + file.size());
}

TEST(Gguf, TypeCodesGoBothWays) {
  for (int i = 0; i < kFileDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (const auto code = ggml_type_of(dtype)) {
      EXPECT_EQ(dtype_of_ggml_type(*code), dtype);
    }
    if (is_block_type(dtype)) {
      EXPECT_TRUE(ggml_type_of(dtype));
    }
  }
  EXPECT_EQ(ggml_type_of(DType::kMXFP4), 39u);
  EXPECT_EQ(ggml_type_of(DType::kBool), std::nullopt);
}

}  // namespace
}  // namespace sampan
