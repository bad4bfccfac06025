#include "text/unicode_table.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode_data.h"

namespace sampan {
namespace {

namespace data = unicode_data;

constexpr std::string_view kCategories[] = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};

std::uint64_t record_mask(const data::Record& record) {
  std::uint64_t mask = 1ull << record.category;
  if (mask & kSeparator) mask |= kSpace;
  const auto add = [&](std::uint8_t flag, std::uint64_t bit) {
    if (record.flags & flag) mask |= bit;
  };
  add(data::kHan, kHanScript);
  add(data::kWord, kWordChar);
  add(data::kNumeric, kRustNumeric);
  add(data::kPunctuation, kRustPunctuation);
  add(data::kQuickCheckFails, kNfcCheck);
  add(data::kNewer, kNewer);
  add(data::kForeignToNfc, kNfcForeign);
  return mask;
}

}  // namespace

UnicodeTable::UnicodeTable() : records_(kInvalidByte + 1) {
  SAMPAN_CHECK(data::kRecordCount <= 254);
  for (std::size_t i = 0; i < data::kRecordCount; ++i) {
    masks_[i] = record_mask(data::kRecords[i]);
    classes_[i] = data::kRecords[i].combining_class;
  }
  auto next = records_.begin();
  for (std::size_t i = 0; i < data::kRunCount; ++i) {
    next = std::fill_n(next, data::kRuns[i] >> 8, static_cast<std::uint8_t>(data::kRuns[i]));
  }
  SAMPAN_CHECK(next == records_.begin() + kInvalidByte);
  records_[kInvalidByte] = records_[1];
  // The six control characters that \s matches get records of their own.
  const std::uint64_t control = masks_[records_[1]];
  masks_[254] = control | kSpace;
  masks_[255] = control | kSpace | kNewline;
  for (const char32_t space : {0x09, 0x0B, 0x0C, 0x85}) records_[space] = 254;
  for (const char32_t newline : {0x0A, 0x0D}) records_[newline] = 255;
}

const UnicodeTable& UnicodeTable::get() {
  static const UnicodeTable table;
  return table;
}

std::optional<std::uint64_t> property_mask(std::string_view name) {
  if (name == "Han") return kHanScript;
  if (name == "L&") return kLu | kLl | kLt;
  if (name.empty() || name.size() > 2) return std::nullopt;
  std::uint64_t mask = 0;
  for (std::size_t i = 0; i < std::size(kCategories); ++i) {
    if (kCategories[i].starts_with(name)) mask |= 1ull << i;
  }
  if (mask == 0) return std::nullopt;
  return mask;
}

}  // namespace sampan
