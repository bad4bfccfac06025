#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

class MappedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "sampan-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  std::filesystem::path folder_;
};

std::string text(const MappedFile& file) {
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

// The code of the error that mapping `path` throws; its message names the path.
ErrorCode error_of(const std::filesystem::path& path) {
  try {
    const MappedFile file(path);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path.filename().string()), std::string::npos);
    return error.code();
  }
  ADD_FAILURE() << path << " was mapped";
  return ErrorCode::kLimit;
}

TEST_F(MappedFileTest, GivesTheFilesBytes) {
  const std::string content = std::string("weights\0\n\xFF", 10) + std::string(10000, 'x');
  const MappedFile file(write("a", content));
  EXPECT_EQ(text(file), content);
  EXPECT_EQ(file.path(), folder_ / "a");
}

TEST_F(MappedFileTest, AnEmptyFileIsAnEmptySpan) {
  const MappedFile file(write("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(read_file(folder_ / "empty"), "");
}

TEST_F(MappedFileTest, SaysWhatIsWrong) {
  EXPECT_EQ(error_of(folder_ / "missing"), ErrorCode::kNotFound);
  EXPECT_EQ(error_of(write("file", "x") / "below"), ErrorCode::kNotFound);
  EXPECT_EQ(error_of(folder_), ErrorCode::kInvalidArgument);
  std::filesystem::create_symlink("loop", folder_ / "loop");
  EXPECT_EQ(error_of(folder_ / "loop"), ErrorCode::kIo);
  if (::geteuid() != 0) {
    std::filesystem::permissions(write("secret", "x"), std::filesystem::perms::none);
    EXPECT_EQ(error_of(folder_ / "secret"), ErrorCode::kPermission);
  }
}

// Opening one for reading would wait for a writer for ever.
TEST_F(MappedFileTest, APipeIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of(folder_ / "pipe"), ErrorCode::kInvalidArgument);
}

TEST_F(MappedFileTest, MovingKeepsTheBytesInPlace) {
  MappedFile a(write("a", "first"));
  MappedFile b(write("b", "second"));
  const std::byte* const first = a.bytes().data();
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.bytes().data(), first);
  b = std::move(moved);
  EXPECT_EQ(b.bytes().data(), first);
  EXPECT_EQ(text(b), "first");
  EXPECT_EQ(b.path().filename(), "a");
}

TEST_F(MappedFileTest, ReleasedPagesReadTheSameAgain) {
  const std::string content(5 * 4096 + 100, 'y');
  const MappedFile file(write("a", content));
  EXPECT_EQ(text(file), content);
  file.release_pages(0, content.size());
  EXPECT_EQ(text(file), content);
  file.release_pages(100, 9000);
  file.release_pages(4096, 0);
  EXPECT_EQ(text(file), content);
}

// Whatever the range, memory behind the mapping is not the file's to give back.
TEST_F(MappedFileTest, ReleasingTouchesNothingBehindTheFile) {
  const std::string content(4096, 'z');
  const MappedFile file(write("a", content));
  file.release_pages(0, 1u << 30);
  file.release_pages(1u << 30, 4096);
  file.release_pages(4096, SIZE_MAX);
  file.release_pages(SIZE_MAX, SIZE_MAX);
  file.release_pages(2, SIZE_MAX);
  EXPECT_EQ(text(file), content);
  const MappedFile empty(write("empty", ""));
  empty.release_pages(0, 4096);
}

TEST_F(MappedFileTest, ReadFileHasALimit) {
  const auto path = write("a", "0123456789");
  EXPECT_EQ(read_file(path), "0123456789");
  EXPECT_EQ(read_file(path, 10), "0123456789");
  try {
    read_file(path, 9);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLimit);
    EXPECT_NE(std::string(error.what()).find("10 bytes, at most 9"), std::string::npos);
  }
}

}  // namespace
}  // namespace sampan
