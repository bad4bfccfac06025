#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/digest.h"
#include "hub/file_system.h"

namespace sampan {

// A file on its way here: KEY.part, its bytes in place, and KEY.journal, which names the pieces
// that are complete, each with a checksum. After any interruption (kill -9, power loss, full disk)
// the journal's pieces are read again and those whose checksum fails are forgotten, so nothing
// depends on the order in which the disk wrote things. What counts in the end is the digest of the
// whole file.
//
// Thread-safe after construction; two writers must not write the same piece at once. The caller
// holds the key's lock.
class PartialFile {
 public:
  // Opens or creates the file and checks what is there. key: a digest, safe as a file name.
  // with_git_oid: compute git's blob id too. Throws Error kIo (full disk …).
  PartialFile(const std::filesystem::path& folder, const std::string& key, std::uint64_t size,
              bool with_git_oid);

  std::uint64_t size() const { return size_; }
  std::size_t piece_count() const { return piece_count_; }
  std::uint64_t piece_offset(std::size_t piece) const { return piece * piece_bytes_; }
  std::size_t piece_size(std::size_t piece) const;
  std::size_t piece_at(std::uint64_t offset) const {
    return static_cast<std::size_t>(offset / piece_bytes_);
  }
  bool is_done(std::size_t piece) const;
  std::uint64_t done_bytes() const;

  // Stores a complete piece (bytes.size() == piece_size(piece)) and notes it in the journal.
  void store_piece(std::size_t piece, std::span<const std::byte> bytes);
  // Adds to the digest what follows on the bytes that it has, as far as the pieces are complete.
  // Does nothing when another thread is at it.
  void advance_digest();
  // All pieces being complete: syncs the file and returns what it is.
  ContentIds finish();
  // Forgets everything.
  void reset();
  // After finish: moves the file to target, read-only and durable, and removes the journal.
  void publish(const std::filesystem::path& target);
  // Removes file and journal.
  void discard();

  // Bytes that a download of size needs on disk in addition to what the partial file of this key
  // occupies already.
  static std::uint64_t bytes_missing_on_disk(const std::filesystem::path& folder,
                                             const std::string& key, std::uint64_t size);

 private:
  void open();
  void replay_journal();
  void write_journal_anew();
  std::string journal_header() const;
  void digest_piece(std::size_t piece);

  std::filesystem::path part_path_;
  std::filesystem::path journal_path_;
  std::string key_;
  std::uint64_t size_;
  std::uint64_t piece_bytes_;
  std::size_t piece_count_;
  bool with_git_oid_;
  FileHandle part_;

  mutable std::mutex mutex_;  // guards the three below
  std::vector<std::uint64_t> checksums_;
  std::vector<bool> done_;
  FileHandle journal_;

  std::mutex digest_mutex_;  // guards the two below
  ContentHasher hasher_;
  std::size_t digested_pieces_ = 0;
};

// A partial file's journal as text, read without trust: the pieces that it names, with their
// checksums. Empty when the first line is not header. A last line that was cut off is left out, and
// so is what does not parse.
std::vector<std::pair<std::size_t, std::uint64_t>> parse_journal(std::string_view text,
                                                                 std::string_view header,
                                                                 std::size_t piece_count);

}  // namespace sampan
