#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sampan::jinja {

class Budget;

// Which bytes of a text came from the template (trusted) and which from the conversation. Kept as
// the first byte's trust and the offsets at which it flips, so a text of one origin costs nothing.
class Provenance {
 public:
  Provenance() = default;
  explicit Provenance(bool trusted) : first_(trusted) {}

  bool first() const { return first_; }
  const std::vector<std::size_t>& flips() const { return flips_; }
  bool uniform() const { return flips_.empty(); }
  // The trust of the byte at `offset`.
  bool trusted_at(std::size_t offset) const;

 private:
  friend class TextBuilder;
  bool first_ = false;
  std::vector<std::size_t> flips_;  // strictly increasing, each in [1, size)
};

// UTF-8 bytes with their provenance.
struct Text {
  std::string bytes;
  Provenance provenance;

  // What copying it costs, in bytes.
  std::size_t cost() const { return bytes.size() + 16 * provenance.flips().size(); }
};

// Appends pieces to a text, keeping every byte's provenance.
class TextBuilder {
 public:
  // Throws Error kLimit (naming `what`) on growing beyond max_bytes.
  TextBuilder(std::size_t max_bytes, const char* what) : max_bytes_(max_bytes), what_(what) {}
  // Bounded by the memory that the budget has left now.
  explicit TextBuilder(const Budget& budget);

  void append(std::string_view bytes, bool trusted);
  void append(const Text& text) { append(text, 0, text.bytes.size()); }
  // Bytes [begin, end) of `text`.
  void append(const Text& text, std::size_t begin, std::size_t end);
  // `count` times the same bytes.
  void fill(std::string_view bytes, std::size_t count, bool trusted);

  std::size_t size() const { return text_.bytes.size(); }
  bool empty() const { return text_.bytes.empty(); }
  const Text& text() const { return text_; }
  Text take() { return std::move(text_); }

 private:
  void grow(std::size_t bytes);
  void mark(bool trusted);

  Text text_;
  bool last_ = false;
  std::size_t max_bytes_;
  const char* what_;
};

// Bytes [begin, end) of a text.
Text slice_text(const Text& text, std::size_t begin, std::size_t end);

}  // namespace sampan::jinja
