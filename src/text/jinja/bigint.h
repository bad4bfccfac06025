#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sampan::jinja {

// An integer of any size up to kMaxBits; operations that would exceed it throw Error kLimit.
// Immutable.
class BigInt {
 public:
  static constexpr std::size_t kMaxBits = 1u << 15;

  BigInt() = default;
  BigInt(std::int64_t value);  // NOLINT: an int is a BigInt wherever one is asked for
  // Digits of the base (2 to 36), at least one, nothing else. Throws Error kLimit.
  static BigInt parse(std::string_view digits, int base = 10);
  // Truncated; `value` is finite.
  static BigInt from_double(double value);

  bool negative() const { return negative_; }
  bool zero() const { return limbs_.empty(); }
  std::size_t bit_length() const;  // of the magnitude
  std::size_t bytes() const { return limbs_.capacity() * sizeof(std::uint32_t); }
  std::optional<std::int64_t> to_int64() const;
  // Rounded to nearest, ties to even; nothing where it overflows.
  std::optional<double> to_double() const;
  std::string to_string(int base = 10) const;

  BigInt operator-() const;
  BigInt operator+(const BigInt& other) const;
  BigInt operator-(const BigInt& other) const { return *this + -other; }
  BigInt operator*(const BigInt& other) const;
  // Rounding down, the remainder with the divisor's sign, as Python's divmod. The divisor is not
  // zero.
  struct Division;
  Division divide(const BigInt& divisor) const;
  BigInt power(std::uint64_t exponent) const;
  BigInt shift_left(std::size_t bits) const;
  // -1, 0 or 1.
  int compare(const BigInt& other) const;

 private:
  using Limbs = std::vector<std::uint32_t>;  // least significant first, no leading zeros

  static int compare_magnitude(const Limbs& a, const Limbs& b);
  static Limbs add_magnitude(const Limbs& a, const Limbs& b);
  static Limbs subtract_magnitude(const Limbs& a, const Limbs& b);  // a >= b
  static std::uint32_t divide_small(Limbs& number, std::uint32_t divisor);
  static Limbs divide_magnitude(Limbs dividend, Limbs divisor, Limbs& remainder);
  BigInt(bool negative, Limbs limbs);

  bool negative_ = false;
  Limbs limbs_;
};

struct BigInt::Division {
  BigInt quotient;
  BigInt remainder;
};

// a / b rounded to nearest, ties to even, as Python's int / int; nothing where it overflows. b is
// not zero.
std::optional<double> true_divide(const BigInt& a, const BigInt& b);

}  // namespace sampan::jinja
