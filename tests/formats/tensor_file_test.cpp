#include "formats/tensor_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "formats/file_bytes.h"
#include "formats/gguf_writer.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;
using testing_formats::Bytes;
using testing_formats::code_of;
using testing_formats::message_of;
using testing_formats::TemporaryFolder;

// A safetensors file of one U8 tensor of four bytes.
std::string one_tensor(const std::string& name, std::string_view data = "abcd") {
  return Bytes()
      .text("{\"" + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})")
      .raw(data)
      .str();
}

std::string open_message(const fs::path& path) {
  return message_of([&] { TensorFiles::open(path); });
}

std::string first_bytes(const TensorView& view, std::size_t count) {
  return std::string(reinterpret_cast<const char*>(view.data), count);
}

TEST(TensorFilesTest, OpensTheSingleFileOfAFolder) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", one_tensor("a"));
  folder.write("other.safetensors", one_tensor("b"));  // model.safetensors comes first
  const TensorFiles files = TensorFiles::open(folder.path());
  ASSERT_EQ(files.tensors().size(), 1u);
  ASSERT_TRUE(files.find_view("a"));
  EXPECT_EQ(first_bytes(*files.find_view("a"), 4), "abcd");
  EXPECT_EQ(files.find("b"), nullptr);
  EXPECT_EQ(files.gguf(), nullptr);
  EXPECT_EQ(files.total_bytes(), files.files()[0].bytes().size());
}

TEST(TensorFilesTest, OpensAFileOfAnotherNameWhenItIsTheOnlyOne) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("adapter.safetensors", one_tensor("a"));
  EXPECT_NE(TensorFiles::open(folder.path()).find("a"), nullptr);
  EXPECT_NE(TensorFiles::open(file).find("a"), nullptr);
  folder.write("second.safetensors", one_tensor("b"));
  EXPECT_EQ(open_message(folder.path()), folder.path().string() +
                                             ": 2 .safetensors files but no "
                                             "model.safetensors.index.json");
}

TEST(TensorFilesTest, ViewsStayValidWhenItMoves) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", one_tensor("a"));
  TensorFiles files = TensorFiles::open(folder.path());
  const TensorView view = *files.find_view("a");
  const TensorFiles moved = std::move(files);
  EXPECT_EQ(moved.find_view("a")->data, view.data);
  EXPECT_EQ(first_bytes(view, 4), "abcd");
}

TEST(TensorFilesTest, OpensShardsByTheirIndex) {
  const TemporaryFolder folder;
  folder.write("m-1.safetensors", one_tensor("a", "1111"));
  folder.write("m-2.safetensors", one_tensor("b", "2222"));
  folder.write("model.safetensors.index.json",
               R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  const TensorFiles files = TensorFiles::open(folder.path());
  ASSERT_EQ(files.tensors().size(), 2u);
  EXPECT_EQ(files.find("b")->file, 1);
  EXPECT_EQ(first_bytes(*files.find_view("a"), 4), "1111");
  EXPECT_EQ(first_bytes(*files.find_view("b"), 4), "2222");
}

TEST(TensorFilesTest, IndexAndShardsMustAgree) {
  const TemporaryFolder folder;
  const auto index = [&](const std::string& map) {
    folder.write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  };
  folder.write("m-1.safetensors", one_tensor("a"));
  index(R"("a":"m-1.safetensors","b":"m-2.safetensors")");
  EXPECT_EQ(open_message(folder.path()),
            (folder.path() / "m-2.safetensors").string() +
                ": the shard is missing, model.safetensors.index.json names it");
  EXPECT_EQ(code_of([&] { TensorFiles::open(folder.path()); }), ErrorCode::kNotFound);
  folder.write("m-2.safetensors", one_tensor("c"));
  EXPECT_EQ(open_message(folder.path()),
            "model.safetensors.index.json: tensor b is not in m-2.safetensors");
  index(R"("a":"m-2.safetensors","c":"m-1.safetensors")");
  EXPECT_EQ(open_message(folder.path()),
            "model.safetensors.index.json: tensor a is not in m-2.safetensors");
  folder.write("m-2.safetensors", one_tensor("a"));
  index(R"("a":"m-1.safetensors","b":"m-2.safetensors")");
  EXPECT_EQ(open_message(folder.path()), "tensor a is in m-1.safetensors and in m-2.safetensors");
  folder.write("m-2.safetensors", "");
  EXPECT_EQ(open_message(folder.path()),
            "m-2.safetensors: safetensors: header length: 8 bytes needed, 0 left");
  index(R"("a":"../m-1.safetensors")");
  EXPECT_EQ(open_message(folder.path()),
            "model.safetensors.index.json: safetensors index: \"../m-1.safetensors\" is not the "
            "plain name of a .safetensors file");
}

TEST(TensorFilesTest, SaysWhatItDoesNotRead) {
  const TemporaryFolder folder;
  const std::string name = folder.path().string();
  EXPECT_EQ(open_message(folder.path()),
            name + ": no model.safetensors, model.safetensors.index.json or .gguf file");
  folder.write("pytorch_model.bin", "x");
  EXPECT_EQ(
      open_message(folder.path()),
      name + ": pickled weights (pytorch_model.bin) are never read; get the safetensors files");
  EXPECT_EQ(code_of([&] { TensorFiles::open(folder.path()); }), ErrorCode::kUnsupported);
  EXPECT_EQ(open_message(folder.path() / "pytorch_model.bin"),
            name + "/pytorch_model.bin: neither a GGUF nor a .safetensors file");
  EXPECT_EQ(open_message(folder.path() / "absent"), name + "/absent: No such file or directory");
}

// A GGUF file with one tensor and, for count > 1, the keys of a split.
void write_gguf(const fs::path& path, const std::string& tensor, std::uint32_t number = 0,
                std::uint32_t count = 1, std::int32_t total = 1) {
  GgufWriter writer(path);
  writer.add_string("general.architecture", "llama");
  if (count > 1) {
    writer.add_u32("split.no", number);
    writer.add_u32("split.count", count);
    writer.add_i32("split.tensors.count", total);
  }
  writer.add_tensor(tensor, DType::kF32, {2});
  const float data[2] = {static_cast<float>(number), 7};
  writer.write(std::as_bytes(std::span(data)));
  writer.finish();
}

TEST(TensorFilesTest, OpensGgufFiles) {
  const TemporaryFolder folder;
  write_gguf(folder.path() / "m.gguf", "a");
  for (const fs::path& path : {folder.path(), folder.path() / "m.gguf"}) {
    const TensorFiles files = TensorFiles::open(path);
    EXPECT_NE(files.find("a"), nullptr);
    ASSERT_NE(files.gguf(), nullptr);
    EXPECT_EQ(files.gguf()->string("general.architecture"), "llama");
  }
  fs::rename(folder.path() / "m.gguf", folder.path() / "blob");  // known by its first bytes
  EXPECT_NE(TensorFiles::open(folder.path() / "blob").gguf(), nullptr);
}

TEST(TensorFilesTest, OpensSplitGgufs) {
  const TemporaryFolder folder;
  const fs::path first = folder.path() / "m-00001-of-00002.gguf";
  const fs::path second = folder.path() / "m-00002-of-00002.gguf";
  write_gguf(first, "a", 0, 2, 2);
  EXPECT_EQ(open_message(first), second.string() + ": No such file or directory");
  write_gguf(second, "b", 1, 2, 2);
  for (const fs::path& path : {folder.path(), first}) {
    const TensorFiles files = TensorFiles::open(path);
    ASSERT_EQ(files.tensors().size(), 2u);
    EXPECT_EQ(files.find("b")->file, 1);
    float value = 0;
    std::memcpy(&value, files.find_view("b")->data, sizeof(value));
    EXPECT_EQ(value, 1.0f);
  }
  EXPECT_EQ(
      open_message(second),
      "m-00002-of-00002.gguf: not the first file of a split GGUF; name m-00001-of-00002.gguf");
  write_gguf(second, "a", 1, 2, 2);
  EXPECT_EQ(open_message(first),
            "tensor a is in m-00001-of-00002.gguf and in m-00002-of-00002.gguf");
  write_gguf(second, "b", 0, 2, 2);
  EXPECT_EQ(open_message(first), "m-00002-of-00002.gguf: gguf: split.no is 0, not 1");
  write_gguf(second, "b", 1, 3, 2);
  EXPECT_EQ(open_message(first), "m-00002-of-00002.gguf: gguf: split.count is 3, not 2");
  write_gguf(second, "b", 1, 2, 2);
  write_gguf(first, "a", 0, 2, 5);
  EXPECT_EQ(open_message(first), "m-00001-of-00002.gguf: gguf: split.tensors.count is 5, not 2");
  fs::rename(first, folder.path() / "renamed.gguf");
  EXPECT_EQ(open_message(folder.path() / "renamed.gguf"),
            "renamed.gguf: one of 2 files of a split GGUF, but not named NAME-00001-of-00002.gguf");
}

TEST(GgufWriterTest, WhatItWritesIsReadBack) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  const std::string blocks(144 * 3, 'q');
  {
    GgufWriter writer(path);
    writer.add_string("s", "text");
    writer.add_u32("u32", 7);
    writer.add_u64("u64", 1ull << 40);
    writer.add_i32("i32", -3);
    writer.add_f32("f32", 0.5f);
    writer.add_bool("bool", true);
    writer.add_strings("strings", std::vector<std::string>{"x", "", "yz"});
    writer.add_u32s("u32s", std::vector<std::uint32_t>{1, 2});
    writer.add_i32s("i32s", std::vector<std::int32_t>{-1, 2});
    writer.add_f32s("f32s", std::vector<float>{0.25f});
    writer.add_bools("bools", {true, false, true});
    writer.add_tensor("scalar", DType::kF32, {});
    writer.add_tensor("empty", DType::kF32, {0, 3});
    writer.add_tensor("blocks", DType::kQ4_K, {3, 256});
    const float one = 1;
    writer.write(std::as_bytes(std::span(&one, 1)));
    for (std::size_t begin = 0; begin < blocks.size(); begin += 100) {  // pieces of any size
      writer.write(testing_formats::as_bytes(std::string_view(blocks).substr(begin, 100)));
    }
    EXPECT_FALSE(fs::exists(path));
    writer.finish();
    EXPECT_EQ(fs::file_size(path), writer.file_bytes());
  }
  const TensorFiles files = TensorFiles::open(path);
  const GgufFile& gguf = *files.gguf();
  EXPECT_EQ(gguf.version(), 3u);
  EXPECT_EQ(gguf.string("s"), "text");
  EXPECT_EQ(gguf.u64("u32"), 7u);
  EXPECT_EQ(gguf.u64("u64"), 1ull << 40);
  EXPECT_EQ(gguf.find_i64("i32"), -3);
  EXPECT_EQ(gguf.f64("f32"), 0.5);
  EXPECT_EQ(gguf.find_bool("bool"), true);
  EXPECT_EQ(gguf.find_strings("strings"), (std::vector<std::string_view>{"x", "", "yz"}));
  EXPECT_EQ(gguf.find_i64s("u32s"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(gguf.find_i64s("i32s"), (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(gguf.find_f64s("f32s"), (std::vector<double>{0.25}));
  EXPECT_EQ(gguf.find_bools("bools"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(files.find("empty")->shape, (Shape{0, 3}));
  EXPECT_EQ(files.find("blocks")->shape, (Shape{3, 256}));
  EXPECT_EQ(first_bytes(*files.find_view("blocks"), blocks.size()), blocks);

  // A copy entry by entry has the same bytes.
  const fs::path copy_path = folder.path() / "copy.gguf";
  GgufWriter copy(copy_path);
  for (const GgufEntry& entry : gguf.metadata()) copy.add_entry(entry);
  for (const TensorDescriptor& tensor : files.tensors()) {
    copy.add_tensor(tensor.name, tensor.dtype, tensor.shape);
  }
  for (const TensorDescriptor& tensor : files.tensors()) {
    copy.write({files.view(tensor).data, tensor.bytes});
  }
  copy.finish();
  EXPECT_EQ(read_file(copy_path), read_file(path));
}

TEST(GgufWriterTest, AnUnfinishedFileDisappears) {
  const TemporaryFolder folder;
  {
    GgufWriter writer(folder.path() / "m.gguf");
    writer.add_tensor("a", DType::kF32, {4});
    writer.write(testing_formats::as_bytes("1234"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(GgufWriterTest, AnOldFileStaysUntilTheNewOneIsWhole) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("m.gguf", "old");
  write_gguf(path, "a");
  EXPECT_NE(TensorFiles::open(path).find("a"), nullptr);
  {
    GgufWriter writer(path);
    writer.add_tensor("b", DType::kF32, {4});
    writer.write(testing_formats::as_bytes("1234"));
  }
  EXPECT_NE(TensorFiles::open(path).find("a"), nullptr);
}

TEST(GgufWriterTest, RefusesWhatGgufCannotHold) {
  const TemporaryFolder folder;
  GgufWriter writer(folder.path() / "m.gguf");
  writer.add_u32("k", 1);
  EXPECT_EQ(message_of([&] { writer.add_bool("k", true); }), "gguf: metadata key k is there twice");
  writer.add_tensor("t", DType::kF32, {1});
  EXPECT_EQ(message_of([&] { writer.add_tensor("t", DType::kF32, {1}); }),
            "gguf: tensor t is there twice");
  EXPECT_EQ(message_of([&] { writer.add_tensor("u", DType::kU8, {1}); }),
            "gguf: tensor u: a GGUF file cannot hold U8");
  EXPECT_EQ(message_of([&] {
              writer.add_tensor("v", DType::kQ4_K, {2, 100});
            }),
            "gguf: tensor v: Q4_K cannot have shape [2, 100]");
  EXPECT_EQ(message_of([&] {
              writer.add_tensor("w", DType::kF32, {1, 1, 1, 1, 1});
            }),
            "gguf: tensor w: F32 cannot have shape [1, 1, 1, 1, 1]");
  EXPECT_THROW(writer.finish(), InternalError);  // tensor t was not written
}

TEST(GgufWriterTest, AFullDiskIsNamed) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  EXPECT_EQ(message_of([&] { GgufWriter{folder.path() / "absent" / "m.gguf"}; }),
            folder.path().string() + "/absent/m.gguf: No such file or directory");
  // A limit on the size of files stands in for the end of a disk.
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 1000, old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of([&] {
    GgufWriter writer(path);
    writer.add_tensor("a", DType::kF32, {1024});
    const std::vector<std::byte> data(4096);
    writer.write(data);
    writer.finish();
  });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(message.starts_with(path.string() + ": File too large; ")) << message;
  EXPECT_TRUE(message.ends_with(" of 4160 bytes written")) << message;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace sampan
