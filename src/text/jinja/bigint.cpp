#include "text/jinja/bigint.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace sampan::jinja {
namespace {

[[noreturn]] void too_large() {
  fail(ErrorCode::kLimit, "an integer of more than {} bits", BigInt::kMaxBits);
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  return c - 'A' + 10;
}

}  // namespace

BigInt::BigInt(std::int64_t value) : negative_(value < 0) {
  auto magnitude = static_cast<std::uint64_t>(value);
  if (negative_) magnitude = 0 - magnitude;
  for (; magnitude != 0; magnitude >>= 32) {
    limbs_.push_back(static_cast<std::uint32_t>(magnitude));
  }
}

BigInt::BigInt(bool negative, Limbs limbs) : negative_(negative), limbs_(std::move(limbs)) {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
  if (limbs_.empty()) negative_ = false;
  if (bit_length() > kMaxBits) too_large();
}

BigInt BigInt::parse(std::string_view digits, int base) {
  const double bits = std::log2(base) * static_cast<double>(digits.size());
  if (bits > static_cast<double>(kMaxBits)) too_large();
  // As many digits at a time as fit a limb.
  Limbs limbs;
  for (std::size_t i = 0; i < digits.size();) {
    std::uint64_t block = 0;
    std::uint64_t scale = 1;
    while (i < digits.size() && scale * static_cast<std::uint64_t>(base) < (1ull << 32)) {
      block = block * static_cast<std::uint64_t>(base) +
              static_cast<std::uint64_t>(digit_value(digits[i++]));
      scale *= static_cast<std::uint64_t>(base);
    }
    std::uint64_t carry = block;
    for (auto& limb : limbs) {
      carry += static_cast<std::uint64_t>(limb) * scale;
      limb = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
  }
  return BigInt(false, std::move(limbs));
}

BigInt BigInt::from_double(double value) {
  int exponent = 0;
  const double fraction = std::frexp(std::trunc(std::fabs(value)), &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<std::int64_t>(std::ldexp(fraction, 53));
  BigInt out(mantissa);
  if (exponent >= 53) {
    out = out.shift_left(static_cast<std::size_t>(exponent - 53));
  } else if (exponent <= 0) {
    out = BigInt();
  } else {
    out = BigInt(mantissa >> (53 - exponent));
  }
  return value < 0 ? -out : out;
}

std::size_t BigInt::bit_length() const {
  if (limbs_.empty()) return 0;
  return limbs_.size() * 32 - static_cast<std::size_t>(std::countl_zero(limbs_.back()));
}

std::optional<std::int64_t> BigInt::to_int64() const {
  if (limbs_.size() > 2) return std::nullopt;
  std::uint64_t magnitude = 0;
  for (std::size_t i = limbs_.size(); i-- > 0;) magnitude = magnitude << 32 | limbs_[i];
  const std::uint64_t most = (1ull << 63) - (negative_ ? 0 : 1);
  if (magnitude > most) return std::nullopt;
  return static_cast<std::int64_t>(negative_ ? 0 - magnitude : magnitude);
}

std::optional<double> BigInt::to_double() const { return true_divide(*this, BigInt(1)); }

std::string BigInt::to_string(int base) const {
  if (limbs_.empty()) return "0";
  // Blocks of as many digits as fit a limb.
  std::uint32_t block = static_cast<std::uint32_t>(base);
  int block_digits = 1;
  while (static_cast<std::uint64_t>(block) * static_cast<std::uint64_t>(base) < (1ull << 32)) {
    block *= static_cast<std::uint32_t>(base);
    ++block_digits;
  }
  std::string reversed;
  for (Limbs rest = limbs_; !rest.empty();) {
    std::uint32_t part = divide_small(rest, block);
    for (int i = 0; i < block_digits && (part != 0 || !rest.empty()); ++i) {
      reversed.push_back(
          "0123456789abcdefghijklmnopqrstuvwxyz"[part % static_cast<std::uint32_t>(base)]);
      part /= static_cast<std::uint32_t>(base);
    }
  }
  if (negative_) reversed.push_back('-');
  return {reversed.rbegin(), reversed.rend()};
}

int BigInt::compare_magnitude(const Limbs& a, const Limbs& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

BigInt::Limbs BigInt::add_magnitude(const Limbs& a, const Limbs& b) {
  Limbs out;
  out.reserve(std::max(a.size(), b.size()) + 1);
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    carry += (i < a.size() ? a[i] : 0ull) + (i < b.size() ? b[i] : 0ull);
    out.push_back(static_cast<std::uint32_t>(carry));
    carry >>= 32;
  }
  if (carry != 0) out.push_back(static_cast<std::uint32_t>(carry));
  return out;
}

BigInt::Limbs BigInt::subtract_magnitude(const Limbs& a, const Limbs& b) {
  Limbs out(a.size());
  std::int64_t borrow = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::int64_t part = static_cast<std::int64_t>(a[i]) - (i < b.size() ? b[i] : 0) + borrow;
    out[i] = static_cast<std::uint32_t>(part);
    borrow = part < 0 ? -1 : 0;
  }
  return out;
}

std::uint32_t BigInt::divide_small(Limbs& number, std::uint32_t divisor) {
  std::uint64_t remainder = 0;
  for (std::size_t i = number.size(); i-- > 0;) {
    const std::uint64_t part = remainder << 32 | number[i];
    number[i] = static_cast<std::uint32_t>(part / divisor);
    remainder = part % divisor;
  }
  while (!number.empty() && number.back() == 0) number.pop_back();
  return static_cast<std::uint32_t>(remainder);
}

// Knuth's algorithm D (The Art of Computer Programming, volume 2, 4.3.1).
BigInt::Limbs BigInt::divide_magnitude(Limbs dividend, Limbs divisor, Limbs& remainder) {
  if (compare_magnitude(dividend, divisor) < 0) {
    remainder = std::move(dividend);
    return {};
  }
  if (divisor.size() == 1) {
    const std::uint32_t rest = divide_small(dividend, divisor[0]);
    remainder = rest == 0 ? Limbs{} : Limbs{rest};
    return dividend;
  }
  const int shift = std::countl_zero(divisor.back());
  const auto shifted = [shift](Limbs& number) {
    if (shift == 0) return;
    for (std::size_t i = number.size(); i-- > 0;) {
      number[i] = number[i] << shift | (i > 0 ? number[i - 1] >> (32 - shift) : 0);
    }
  };
  const std::size_t n = divisor.size();
  dividend.push_back(0);
  shifted(dividend);
  shifted(divisor);
  Limbs quotient(dividend.size() - n);
  for (std::size_t j = quotient.size(); j-- > 0;) {
    const std::uint64_t top =
        static_cast<std::uint64_t>(dividend[j + n]) << 32 | dividend[j + n - 1];
    std::uint64_t guess = top / divisor[n - 1];
    std::uint64_t rest = top % divisor[n - 1];
    while (guess >> 32 != 0 || guess * divisor[n - 2] > (rest << 32 | dividend[j + n - 2])) {
      --guess;
      rest += divisor[n - 1];
      if (rest >> 32 != 0) break;
    }
    std::int64_t borrow = 0;
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i <= n; ++i) {
      carry += i < n ? guess * divisor[i] : 0;
      const std::int64_t part = static_cast<std::int64_t>(dividend[i + j]) -
                                static_cast<std::int64_t>(carry & 0xFFFFFFFF) + borrow;
      dividend[i + j] = static_cast<std::uint32_t>(part);
      borrow = part < 0 ? -1 : 0;
      carry >>= 32;
    }
    if (borrow != 0) {
      --guess;
      std::uint64_t add = 0;
      for (std::size_t i = 0; i <= n; ++i) {
        add += static_cast<std::uint64_t>(dividend[i + j]) + (i < n ? divisor[i] : 0);
        dividend[i + j] = static_cast<std::uint32_t>(add);
        add >>= 32;
      }
    }
    quotient[j] = static_cast<std::uint32_t>(guess);
  }
  remainder.assign(n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    remainder[i] = dividend[i] >> shift;
    if (shift != 0) remainder[i] |= dividend[i + 1] << (32 - shift);
  }
  return quotient;
}

BigInt BigInt::operator-() const { return BigInt(!negative_, limbs_); }

BigInt BigInt::operator+(const BigInt& other) const {
  if (negative_ == other.negative_) return {negative_, add_magnitude(limbs_, other.limbs_)};
  if (compare_magnitude(limbs_, other.limbs_) >= 0) {
    return {negative_, subtract_magnitude(limbs_, other.limbs_)};
  }
  return {other.negative_, subtract_magnitude(other.limbs_, limbs_)};
}

BigInt BigInt::operator*(const BigInt& other) const {
  if (bit_length() + other.bit_length() > kMaxBits + 1) too_large();
  Limbs out(limbs_.size() + other.limbs_.size());
  for (std::size_t i = 0; i < limbs_.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < other.limbs_.size(); ++j) {
      carry += static_cast<std::uint64_t>(limbs_[i]) * other.limbs_[j] + out[i + j];
      out[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    out[i + other.limbs_.size()] = static_cast<std::uint32_t>(carry);
  }
  return {negative_ != other.negative_, std::move(out)};
}

BigInt::Division BigInt::divide(const BigInt& divisor) const {
  Limbs rest;
  Limbs limbs = divide_magnitude(limbs_, divisor.limbs_, rest);
  BigInt quotient(negative_ != divisor.negative_, std::move(limbs));
  BigInt remainder(negative_, std::move(rest));
  if (!remainder.zero() && remainder.negative_ != divisor.negative_) {
    quotient = quotient - BigInt(1);
    remainder = remainder + divisor;
  }
  return {std::move(quotient), std::move(remainder)};
}

BigInt BigInt::power(std::uint64_t exponent) const {
  BigInt result(1);
  if (exponent == 0) return result;
  if (bit_length() > 1 && exponent > kMaxBits) too_large();
  if (bit_length() <= 1) return exponent % 2 == 1 || !negative_ ? *this : -*this;
  BigInt base = *this;
  while (true) {
    if (exponent & 1) result = result * base;
    exponent >>= 1;
    if (exponent == 0) return result;
    base = base * base;
  }
}

BigInt BigInt::shift_left(std::size_t bits) const {
  if (bits > kMaxBits) too_large();
  Limbs out(bits / 32, 0);
  out.insert(out.end(), limbs_.begin(), limbs_.end());
  out.push_back(0);
  if (const int shift = static_cast<int>(bits % 32); shift != 0) {
    for (std::size_t i = out.size() - 1; i > bits / 32; --i) {
      out[i] = out[i] << shift | out[i - 1] >> (32 - shift);
    }
    out[bits / 32] <<= shift;
  }
  return {negative_, std::move(out)};
}

int BigInt::compare(const BigInt& other) const {
  if (negative_ != other.negative_) return negative_ ? -1 : 1;
  const int order = compare_magnitude(limbs_, other.limbs_);
  return negative_ ? -order : order;
}

std::optional<double> true_divide(const BigInt& a, const BigInt& b) {
  if (a.zero()) return b.negative() ? -0.0 : 0.0;
  const bool negative = a.negative() != b.negative();
  BigInt dividend = a.negative() ? -a : a;
  BigInt divisor = b.negative() ? -b : b;
  // Scale so that the quotient has 65 or 66 bits: more than a double's 53 and one that stands for
  // all below.
  const auto a_bits = static_cast<std::int64_t>(a.bit_length());
  const auto b_bits = static_cast<std::int64_t>(b.bit_length());
  std::int64_t scale = 65 - (a_bits - b_bits);
  if (a_bits - b_bits > 1030) return std::nullopt;
  if (b_bits - a_bits > 1200) return negative ? -0.0 : 0.0;
  if (scale >= 0) {
    dividend = dividend.shift_left(static_cast<std::size_t>(scale));
  } else {
    divisor = divisor.shift_left(static_cast<std::size_t>(-scale));
  }
  const auto [quotient, remainder] = dividend.divide(divisor);
  // The quotient's top 64 bits, the lowest one set if anything below them is.
  const std::size_t extra = quotient.bit_length() - 64;
  const auto [top, low] = quotient.divide(BigInt(1).shift_left(extra));
  const std::string digits = top.to_string(16);
  std::uint64_t mantissa = std::stoull(digits, nullptr, 16);
  if (!low.zero() || !remainder.zero()) mantissa |= 1;
  std::int64_t exponent = static_cast<std::int64_t>(extra) - scale;
  // Subnormal results have fewer bits: drop those first, keeping the sticky one, so that rounding
  // happens once.
  if (const std::int64_t below = -1074 - exponent; below > 11) {
    const std::int64_t drop = below - 2;
    if (drop >= 64) return negative ? -0.0 : 0.0;
    const std::uint64_t lost = mantissa & ((1ull << drop) - 1);
    mantissa = mantissa >> drop | (lost != 0);
    exponent += drop;
    // Fewer than 53 bits and two more are left: round by hand to a multiple of 4.
    const std::uint64_t tail = mantissa & 3;
    mantissa >>= 2;
    if (tail == 3 || (tail == 2 && (mantissa & 1) != 0)) ++mantissa;
    exponent += 2;
  }
  const double value = std::ldexp(static_cast<double>(mantissa), static_cast<int>(exponent));
  if (std::isinf(value)) return std::nullopt;
  return negative ? -value : value;
}

}  // namespace sampan::jinja
