#include "hub/partial_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/mapped_file.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kMinPieceBytes = 1 << 20;
constexpr std::uint64_t kMaxPieces = 65536;  // bounds the journal; larger files have larger pieces
constexpr std::uint64_t kMaxJournalBytes = 64 * kMaxPieces;

std::uint64_t piece_bytes_for(std::uint64_t size) {
  const std::uint64_t smallest = (size + kMaxPieces - 1) / kMaxPieces;
  return std::max(kMinPieceBytes,
                  (smallest + kMinPieceBytes - 1) / kMinPieceBytes * kMinPieceBytes);
}

std::string journal_line(std::size_t piece, std::uint64_t checksum) {
  return fmt::format("{} {:016x}\n", piece, checksum);
}

fs::path part_path(const fs::path& folder, const std::string& key) {
  return folder / (key + ".part");
}

}  // namespace

PartialFile::PartialFile(const fs::path& folder, const std::string& key, std::uint64_t size,
                         bool with_git_oid)
    : part_path_(part_path(folder, key)),
      journal_path_(folder / (key + ".journal")),
      key_(key),
      size_(size),
      piece_bytes_(piece_bytes_for(size)),
      piece_count_(static_cast<std::size_t>((size + piece_bytes_ - 1) / piece_bytes_)),
      with_git_oid_(with_git_oid),
      checksums_(piece_count_),
      done_(piece_count_),
      hasher_(size, with_git_oid) {
  create_folders(folder);
  open();
  replay_journal();
}

void PartialFile::open() {
  part_ = open_file(part_path_, O_RDWR | O_CREAT);
  struct stat info {};
  if (::fstat(part_.fd(), &info) != 0) fail_errno(part_path_, "inspect");
  if (static_cast<std::uint64_t>(info.st_size) == size_) return;
  if (::ftruncate(part_.fd(), static_cast<off_t>(size_)) != 0) fail_errno(part_path_, "resize");
  // Reserving the space now tells of a full disk before the download, not at its end. Not every
  // file system can.
  if (size_ > 0 && ::fallocate(part_.fd(), 0, 0, static_cast<off_t>(size_)) != 0 &&
      errno == ENOSPC) {
    fail_errno(part_path_, fmt::format("reserve {} for", format_bytes(size_)));
  }
}

std::string PartialFile::journal_header() const {
  return fmt::format("sampan-journal/1 {} {} {}", key_, size_, piece_bytes_);
}

void PartialFile::replay_journal() {
  if (piece_count_ < 2) return;  // one piece: all or nothing
  const auto journal_size = file_size_if_present(journal_path_);
  if (journal_size && *journal_size <= kMaxJournalBytes) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(piece_bytes_));
    for (const auto& [piece, checksum] :
         parse_journal(read_file(journal_path_), journal_header(), piece_count_)) {
      if (done_[piece]) continue;
      const auto content = std::span(bytes).first(piece_size(piece));
      read_at(part_, part_path_, piece_offset(piece), content);
      if (piece_checksum(content) != checksum) continue;
      done_[piece] = true;
      checksums_[piece] = checksum;
    }
  }
  write_journal_anew();
}

void PartialFile::write_journal_anew() {
  std::string text = journal_header() + "\n";
  for (std::size_t piece = 0; piece < piece_count_; ++piece) {
    if (done_[piece]) text += journal_line(piece, checksums_[piece]);
  }
  write_file_atomically(journal_path_, text);
  journal_ = open_file(journal_path_, O_WRONLY | O_APPEND);
}

std::size_t PartialFile::piece_size(std::size_t piece) const {
  return static_cast<std::size_t>(std::min(piece_bytes_, size_ - piece_offset(piece)));
}

bool PartialFile::is_done(std::size_t piece) const {
  const std::lock_guard lock(mutex_);
  return done_[piece];
}

std::uint64_t PartialFile::done_bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (std::size_t piece = 0; piece < piece_count_; ++piece) {
    if (done_[piece]) total += piece_size(piece);
  }
  return total;
}

void PartialFile::store_piece(std::size_t piece, std::span<const std::byte> bytes) {
  SAMPAN_CHECK(bytes.size() == piece_size(piece));
  write_at(part_, part_path_, piece_offset(piece), bytes);
  const std::uint64_t checksum = piece_checksum(bytes);
  const std::lock_guard lock(mutex_);
  done_[piece] = true;
  checksums_[piece] = checksum;
  if (!journal_) return;
  const std::string line = journal_line(piece, checksum);
  // One write of a short line to a file opened for appending: it is there whole or, after a crash,
  // cut off.
  if (::write(journal_.fd(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    fail_errno(journal_path_, "write");
  }
}

void PartialFile::digest_piece(std::size_t piece) {
  std::vector<std::byte> bytes(piece_size(piece));
  read_at(part_, part_path_, piece_offset(piece), bytes);
  hasher_.update(bytes);
}

void PartialFile::advance_digest() {
  const std::unique_lock lock(digest_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  for (; digested_pieces_ < piece_count_ && is_done(digested_pieces_); ++digested_pieces_)
    digest_piece(digested_pieces_);
}

ContentIds PartialFile::finish() {
  const std::lock_guard lock(digest_mutex_);
  sync_file(part_, part_path_);
  for (; digested_pieces_ < piece_count_; ++digested_pieces_) {
    SAMPAN_CHECK(is_done(digested_pieces_));
    digest_piece(digested_pieces_);
  }
  return hasher_.finish();
}

void PartialFile::reset() {
  const std::scoped_lock lock(digest_mutex_, mutex_);
  std::fill(done_.begin(), done_.end(), false);
  hasher_ = ContentHasher(size_, with_git_oid_);
  digested_pieces_ = 0;
  if (journal_) write_journal_anew();
}

void PartialFile::publish(const fs::path& target) {
  create_folders(target.parent_path());
  if (::fchmod(part_.fd(), 0444) != 0) fail_errno(part_path_, "protect");
  rename_durably(part_path_, target);
  std::error_code ignored;
  fs::remove(journal_path_, ignored);
}

void PartialFile::discard() {
  std::error_code ignored;
  fs::remove(part_path_, ignored);
  fs::remove(journal_path_, ignored);
}

std::uint64_t PartialFile::bytes_missing_on_disk(const fs::path& folder, const std::string& key,
                                                 std::uint64_t size) {
  struct stat info {};
  if (::stat(part_path(folder, key).c_str(), &info) != 0) return size;
  const std::uint64_t present = static_cast<std::uint64_t>(info.st_blocks) * 512;
  return size - std::min(size, present);
}

std::vector<std::pair<std::size_t, std::uint64_t>> parse_journal(std::string_view text,
                                                                 std::string_view header,
                                                                 std::size_t piece_count) {
  std::vector<std::pair<std::size_t, std::uint64_t>> pieces;
  auto end = text.find('\n');
  if (end == std::string_view::npos || text.substr(0, end) != header) return pieces;
  for (std::size_t begin = end + 1; (end = text.find('\n', begin)) != std::string_view::npos;
       begin = end + 1) {
    const std::string_view line = text.substr(begin, end - begin);
    std::size_t piece = 0;
    const auto number = std::from_chars(line.data(), line.data() + line.size(), piece);
    const std::string_view rest = line.substr(static_cast<std::size_t>(number.ptr - line.data()));
    if (number.ec != std::errc() || piece >= piece_count || rest.size() != 17 || rest[0] != ' ')
      continue;
    std::uint64_t checksum = 0;
    const auto hex = std::from_chars(rest.data() + 1, rest.data() + rest.size(), checksum, 16);
    if (hex.ec != std::errc() || hex.ptr != rest.data() + rest.size()) continue;
    pieces.emplace_back(piece, checksum);
  }
  return pieces;
}

}  // namespace sampan
