#include "hub/partial_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/fake_hub.h"

namespace sampan {
namespace {

using testing::kMiB;
using testing::noise;
using testing::read_text;
using testing::TemporaryFolder;
using testing::write_text;

std::span<const std::byte> piece_of(const PartialFile& file, const std::string& content,
                                    std::size_t piece) {
  return std::as_bytes(std::span(content))
      .subspan(file.piece_offset(piece), file.piece_size(piece));
}

TEST(PartialFile, RemembersPiecesAndTheirOrderDoesNotMatter) {
  const TemporaryFolder folder;
  const std::string content = noise(3 * kMiB + 17, 1);
  {
    PartialFile file(folder.path(), "key", content.size(), true);
    ASSERT_EQ(file.piece_count(), 4u);
    file.store_piece(2, piece_of(file, content, 2));
    file.store_piece(0, piece_of(file, content, 0));
  }
  PartialFile file(folder.path(), "key", content.size(), true);
  EXPECT_TRUE(file.is_done(0) && file.is_done(2));
  EXPECT_FALSE(file.is_done(1) || file.is_done(3));
  EXPECT_EQ(file.done_bytes(), 2 * kMiB);
  EXPECT_LT(PartialFile::bytes_missing_on_disk(folder.path(), "key", content.size()),
            content.size());
  file.store_piece(3, piece_of(file, content, 3));
  file.advance_digest();
  file.store_piece(1, piece_of(file, content, 1));
  const ContentIds ids = file.finish();
  EXPECT_EQ(ids.sha256, sha256_hex(content));
  EXPECT_EQ(ids.git_oid, testing::git_oid(content));
  file.publish(folder.path() / "blobs" / "x");
  EXPECT_EQ(read_text(folder.path() / "blobs" / "x"), content);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "key.journal"));
}

// What a power loss leaves: the journal says that a piece is there, the disk has zeros or something
// else.
TEST(PartialFile, DoesNotTrustTheJournal) {
  const TemporaryFolder folder;
  const std::string content = noise(3 * kMiB, 2);
  {
    PartialFile file(folder.path(), "key", content.size(), false);
    for (std::size_t piece = 0; piece < 3; ++piece)
      file.store_piece(piece, piece_of(file, content, piece));
  }
  std::string damaged = read_text(folder.path() / "key.part");
  std::fill(damaged.begin() + kMiB, damaged.begin() + 2 * kMiB, '\0');
  write_text(folder.path() / "key.part", damaged);
  const std::string journal = read_text(folder.path() / "key.journal");
  write_text(folder.path() / "key.journal", journal.substr(0, journal.size() - 3));
  {
    PartialFile file(folder.path(), "key", content.size(), false);
    EXPECT_TRUE(file.is_done(0));
    EXPECT_FALSE(file.is_done(1));  // zeros
    EXPECT_FALSE(file.is_done(2));  // its line was cut off
  }
  // A journal of another size of the file counts for nothing, nor does one without its file.
  EXPECT_EQ(PartialFile(folder.path(), "key", 2 * kMiB, false).done_bytes(), 0u);
  std::filesystem::remove(folder.path() / "key.part");
  EXPECT_EQ(PartialFile(folder.path(), "key", 3 * kMiB, false).done_bytes(), 0u);
}

TEST(PartialFile, StartsAgain) {
  const TemporaryFolder folder;
  const std::string wrong = noise(2 * kMiB, 3), right = noise(2 * kMiB, 4);
  PartialFile file(folder.path(), "key", right.size(), false);
  for (std::size_t piece = 0; piece < 2; ++piece)
    file.store_piece(piece, piece_of(file, wrong, piece));
  EXPECT_EQ(file.finish().sha256, sha256_hex(wrong));
  file.reset();
  EXPECT_EQ(file.done_bytes(), 0u);
  for (std::size_t piece = 0; piece < 2; ++piece)
    file.store_piece(piece, piece_of(file, right, piece));
  EXPECT_EQ(file.finish().sha256, sha256_hex(right));
}

TEST(PartialFile, HoldsNothing) {
  const TemporaryFolder folder;
  PartialFile file(folder.path(), "key", 0, true);
  EXPECT_EQ(file.piece_count(), 0u);
  EXPECT_EQ(file.finish().git_oid,
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");  // git hash-object /dev/null
}

}  // namespace
}  // namespace sampan
