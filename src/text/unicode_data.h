#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

// Generated data behind unicode_table.h (tools/make_unicode_table.py says where every fact comes
// from).
namespace sampan::unicode_data {

// Bits of Record::flags.
enum : std::uint8_t {
  kHan = 1,               // script Han
  kWord = 2,              // \w of Rust's regex crate
  kNumeric = 4,           // Rust's char::is_numeric
  kPunctuation = 8,       // what tokenizers' Punctuation pre-tokenizer isolates
  kQuickCheckFails = 16,  // NFC may change it or compose it with what precedes
  kNewer = 32,            // newer than Unicode 14, or of another category since
  kForeignToNfc = 64,     // tokenizers' NFC leaves it alone although newer Unicode data would not
};

struct Record {
  std::uint8_t category;  // index into the general categories, in the order of unicode_table.h
  std::uint8_t combining_class;
  std::uint8_t flags;
};

extern const Record kRecords[];
extern const std::size_t kRecordCount;
// Each is length << 8 | record: `length` code points share a record. They cover U+0000..U+10FFFF in
// order.
extern const std::uint32_t kRuns[];
extern const std::size_t kRunCount;

}  // namespace sampan::unicode_data
