#include "text/jinja/text.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/budget.h"

namespace sampan::jinja {

bool Provenance::trusted_at(std::size_t offset) const {
  const auto passed = std::upper_bound(flips_.begin(), flips_.end(), offset) - flips_.begin();
  return first_ != (passed % 2 == 1);
}

TextBuilder::TextBuilder(const Budget& budget)
    : max_bytes_(budget.limits().max_memory_bytes), what_("text") {}

void TextBuilder::grow(std::size_t bytes) {
  if (bytes > max_bytes_ - text_.bytes.size()) {
    fail(ErrorCode::kLimit, "{} of more than {} bytes", what_, max_bytes_);
  }
}

void TextBuilder::mark(bool trusted) {
  if (text_.bytes.empty()) {
    text_.provenance.first_ = trusted;
  } else if (trusted != last_) {
    text_.provenance.flips_.push_back(text_.bytes.size());
  }
  last_ = trusted;
}

void TextBuilder::append(std::string_view bytes, bool trusted) {
  if (bytes.empty()) return;
  grow(bytes.size());
  mark(trusted);
  text_.bytes.append(bytes);
}

void TextBuilder::append(const Text& text, std::size_t begin, std::size_t end) {
  if (begin >= end) return;
  grow(end - begin);
  const auto& flips = text.provenance.flips();
  auto flip = std::upper_bound(flips.begin(), flips.end(), begin);
  bool trusted = text.provenance.trusted_at(begin);
  std::size_t from = begin;
  while (from < end) {
    const std::size_t to = flip == flips.end() ? end : std::min(end, *flip++);
    mark(trusted);
    text_.bytes.append(text.bytes, from, to - from);
    from = to;
    trusted = !trusted;
  }
}

void TextBuilder::fill(std::string_view bytes, std::size_t count, bool trusted) {
  if (bytes.empty() || count == 0) return;
  if (count > max_bytes_ / bytes.size()) grow(max_bytes_ + 1);
  grow(bytes.size() * count);
  mark(trusted);
  for (std::size_t i = 0; i < count; ++i) text_.bytes.append(bytes);
}

Text slice_text(const Text& text, std::size_t begin, std::size_t end) {
  TextBuilder builder(text.bytes.size(), "text");
  builder.append(text, begin, end);
  return builder.take();
}

}  // namespace sampan::jinja
