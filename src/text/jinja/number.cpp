#include "text/jinja/number.h"

#include <locale.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "text/jinja/budget.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// Python refuses to convert longer texts to int and back.
constexpr std::size_t kMaxIntDigits = 4300;

[[noreturn]] void division_by_zero(const char* what) {
  fail(ErrorCode::kInvalidArgument, "{} by zero", what);
}

[[noreturn]] void int_too_large_for_float() {
  fail(ErrorCode::kInvalidArgument, "int too large to convert to float");
}

double checked(double value, bool finite_operands) {
  if (finite_operands && std::isinf(value)) fail(ErrorCode::kInvalidArgument, "float overflow");
  return value;
}

struct FloatDivision {
  double quotient;
  double remainder;
};

// CPython's float_divmod: fmod, moved to the divisor's sign, and a quotient that is a whole number.
FloatDivision divide_floats(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  double whole = 0;
  if (quotient != 0) {
    whole = std::floor(quotient);
    if (quotient - whole > 0.5) whole += 1.0;
  } else {
    whole = std::copysign(0.0, a / b);
  }
  return {whole, remainder};
}

double float_power(double a, double b) {
  if (a == 0 && b < 0) division_by_zero("0.0 cannot be raised to a negative power: division");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
    fail(ErrorCode::kUnsupported, "complex numbers");
  }
  return checked(std::pow(a, b), std::isfinite(a) && std::isfinite(b));
}

double float_arithmetic(Arithmetic op, double a, double b) {
  switch (op) {
    case Arithmetic::kAdd:
      return a + b;
    case Arithmetic::kSubtract:
      return a - b;
    case Arithmetic::kMultiply:
      return a * b;
    case Arithmetic::kDivide:
      if (b == 0) division_by_zero("float division");
      return a / b;
    case Arithmetic::kFloorDivide:
      if (b == 0) division_by_zero("float floor division");
      return divide_floats(a, b).quotient;
    case Arithmetic::kModulo:
      if (b == 0) division_by_zero("float modulo");
      return divide_floats(a, b).remainder;
    case Arithmetic::kPower:
      return float_power(a, b);
  }
  return 0;
}

std::optional<std::int64_t> small_arithmetic(Arithmetic op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  switch (op) {
    case Arithmetic::kAdd:
      return __builtin_add_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case Arithmetic::kSubtract:
      return __builtin_sub_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case Arithmetic::kMultiply:
      return __builtin_mul_overflow(a, b, &out) ? std::nullopt : std::optional(out);
    case Arithmetic::kFloorDivide:
    case Arithmetic::kModulo: {
      if (b == 0 || b == -1) return std::nullopt;
      std::int64_t quotient = a / b;
      std::int64_t remainder = a % b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        --quotient;
        remainder += b;
      }
      return op == Arithmetic::kModulo ? remainder : quotient;
    }
    default:
      return std::nullopt;
  }
}

Value big_power(Budget& budget, const BigInt& a, const BigInt& b, bool trusted) {
  if (b.negative()) {
    const auto x = a.to_double();
    const auto y = b.to_double();
    if (!x || !y) int_too_large_for_float();
    return Value::real(float_power(*x, *y), trusted);
  }
  const auto exponent = b.to_int64();
  if (!exponent && a.bit_length() > 1) {
    fail(ErrorCode::kLimit, "an integer of more than {} bits", BigInt::kMaxBits);
  }
  const std::int64_t parity = b.divide(BigInt(2)).remainder.zero() ? 2 : 1;
  BigInt result = a.power(static_cast<std::uint64_t>(exponent.value_or(parity)));
  budget.work(result.bytes() * result.bytes() / 16);
  return make_integer(&budget, std::move(result), trusted);
}

Value big_arithmetic(Budget& budget, Arithmetic op, const BigInt& a, const BigInt& b,
                     bool trusted) {
  budget.work(a.bytes() * b.bytes() / 16);
  switch (op) {
    case Arithmetic::kAdd:
      return make_integer(&budget, a + b, trusted);
    case Arithmetic::kSubtract:
      return make_integer(&budget, a - b, trusted);
    case Arithmetic::kMultiply:
      return make_integer(&budget, a * b, trusted);
    case Arithmetic::kDivide: {
      if (b.zero()) division_by_zero("division");
      const auto quotient = true_divide(a, b);
      if (!quotient)
        fail(ErrorCode::kInvalidArgument, "integer division result too large for a float");
      return Value::real(*quotient, trusted);
    }
    case Arithmetic::kFloorDivide:
    case Arithmetic::kModulo: {
      if (b.zero()) division_by_zero("integer division or modulo");
      auto division = a.divide(b);
      return make_integer(
          &budget, std::move(op == Arithmetic::kModulo ? division.remainder : division.quotient),
          trusted);
    }
    case Arithmetic::kPower:
      return big_power(budget, a, b, trusted);
  }
  return Value::none();
}

// Drops the underscores of a numeral where Python allows them: singly, between digits.
std::optional<std::string> drop_underscores(std::string_view digits, auto is_digit_char) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] != '_') {
      out.push_back(digits[i]);
      continue;
    }
    const bool between = i > 0 && i + 1 < digits.size() && is_digit_char(digits[i - 1]) &&
                         is_digit_char(digits[i + 1]);
    if (!between) return std::nullopt;
  }
  return out;
}

// Surrounding whitespace off, digits of every script turned into ASCII ones; nothing for a
// character no numeral has.
std::optional<std::string> ascii_numeral(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (is_space(point.code)) {
      out.push_back(' ');
    } else if (point.code < 0x80) {
      out.push_back(static_cast<char>(point.code));
    } else if (is_decimal(point.code)) {
      out.push_back(static_cast<char>('0' + decimal_value(point.code)));
    } else {
      return std::nullopt;
    }
    i += point.bytes;
  }
  const auto first = out.find_first_not_of(' ');
  if (first == std::string::npos) return std::string();
  return out.substr(first, out.find_last_not_of(' ') - first + 1);
}

int numeral_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Takes a 0x, 0o or 0b prefix off, and settles base 0.
bool take_prefix(std::string_view& digits, int& base) {
  int prefix_base = 0;
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = static_cast<char>(digits[1] | 0x20);
    prefix_base = letter == 'x' ? 16 : (letter == 'o' ? 8 : (letter == 'b' ? 2 : 0));
  }
  if (prefix_base != 0 && (base == 0 || base == prefix_base)) {
    digits.remove_prefix(digits[2] == '_' ? 3 : 2);
    base = prefix_base;
    return true;
  }
  if (base == 0) {
    base = 10;
    // "012" is no numeral, "000" is.
    return digits[0] != '0' || digits.find_first_not_of("0_") == std::string_view::npos;
  }
  return true;
}

// strtod that reads "1.5" whatever the process's locale.
double read_double(const char* text, char** end) {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(text, end, plain);
}

// Rounds |value| to a multiple of 10^places, places > 0, on its exact decimal expansion.
double round_to_power_of_ten(double value, std::int64_t places) {
  const std::string digits = fixed_digits(std::fabs(value), 1074);
  const std::size_t point = digits.find('.');
  if (places > static_cast<std::int64_t>(point)) return std::copysign(0.0, value);
  const std::size_t cut = point - static_cast<std::size_t>(places);
  std::string kept = "0" + digits.substr(0, cut);
  std::string rest = digits.substr(cut, point - cut) + digits.substr(point + 1);
  std::string half(rest.size(), '0');
  half[0] = '5';
  const bool odd = (kept.back() - '0') % 2 == 1;
  if (rest > half || (rest == half && odd)) {
    std::size_t i = kept.size() - 1;
    while (kept[i] == '9') kept[i--] = '0';
    ++kept[i];
  }
  kept.append(static_cast<std::size_t>(places), '0');
  return std::copysign(read_double(kept.c_str(), nullptr), value);
}

double round_double(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits < 0) {
    return checked(round_to_power_of_ten(value, -digits), true);
  }
  return read_double(fixed_digits(value, static_cast<int>(digits)).c_str(), nullptr);
}

}  // namespace

BigInt to_big(const Value& integral) {
  return integral.is(Kind::kBigInt) ? integral.as<BigIntObject>().value : BigInt(integral.as_int());
}

double to_double(const Value& number) {
  if (number.is(Kind::kFloat)) return number.as_float();
  if (!number.is(Kind::kBigInt)) return static_cast<double>(number.as_int());
  const auto value = number.as<BigIntObject>().value.to_double();
  if (!value) int_too_large_for_float();
  return *value;
}

std::optional<std::int64_t> to_int64(const Value& integral) {
  if (integral.is(Kind::kBigInt)) return std::nullopt;
  return integral.as_int();
}

std::int64_t to_index(const Value& value) {
  if (!value.is_integral()) {
    fail(ErrorCode::kInvalidArgument, "'{}' object cannot be interpreted as an integer",
         type_name(value));
  }
  if (!value.is(Kind::kBigInt)) return value.as_int();
  return value.as<BigIntObject>().value.negative() ? std::numeric_limits<std::int64_t>::min()
                                                   : std::numeric_limits<std::int64_t>::max();
}

Value arithmetic(Budget& budget, Arithmetic op, const Value& a, const Value& b) {
  const bool trusted = a.trusted() && b.trusted();
  if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) {
    return Value::real(float_arithmetic(op, to_double(a), to_double(b)), trusted);
  }
  if (!a.is(Kind::kBigInt) && !b.is(Kind::kBigInt)) {
    if (const auto small = small_arithmetic(op, a.as_int(), b.as_int())) {
      return Value::integer(*small, trusted);
    }
  }
  return big_arithmetic(budget, op, to_big(a), to_big(b), trusted);
}

Value negate(Budget& budget, const Value& number) {
  if (number.is(Kind::kFloat)) return Value::real(-number.as_float(), number.trusted());
  return arithmetic(budget, Arithmetic::kSubtract, Value::integer(0, true), number);
}

int compare_numbers(const Value& a, const Value& b) {
  const auto order = [](auto x, auto y) { return x < y ? -1 : (x > y ? 1 : 0); };
  if (a.is(Kind::kFloat) && b.is(Kind::kFloat)) return order(a.as_float(), b.as_float());
  if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
    if (!a.is(Kind::kBigInt) && !b.is(Kind::kBigInt)) return order(a.as_int(), b.as_int());
    return to_big(a).compare(to_big(b));
  }
  if (b.is(Kind::kFloat)) return -compare_numbers(b, a);
  const double real = a.as_float();
  if (std::isinf(real)) return real < 0 ? -1 : 1;
  if (std::isnan(real)) return 0;
  const int whole = BigInt::from_double(real).compare(to_big(b));
  if (whole != 0) return whole;
  return order(real, std::trunc(real));
}

bool is_nan(const Value& number) {
  return number.is(Kind::kFloat) && std::isnan(number.as_float());
}

std::string fixed_digits(double value, int precision) {
  std::string out(static_cast<std::size_t>(precision) + 320, '\0');
  const auto end =
      std::to_chars(out.data(), out.data() + out.size(), value, std::chars_format::fixed, precision)
          .ptr;
  out.resize(static_cast<std::size_t>(end - out.data()));
  return out;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const int size = std::abs(exponent);
    return out + (size < 10 ? "0" : "") + std::to_string(size);
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (const int zeros = exponent - count + 1; zeros >= 0) {
    return out + digits + std::string(static_cast<std::size_t>(zeros), '0') + ".0";
  }
  const auto split = static_cast<std::size_t>(exponent + 1);
  return out + digits.substr(0, split) + "." + digits.substr(split);
}

std::string number_text(const Value& number) {
  if (number.is(Kind::kBool)) return number.as_bool() ? "True" : "False";
  if (number.is(Kind::kFloat)) return float_repr(number.as_float());
  if (number.is(Kind::kInt)) return std::to_string(number.as_int());
  std::string text = number.as<BigIntObject>().value.to_string();
  if (text.size() > kMaxIntDigits + (text[0] == '-')) {
    fail(ErrorCode::kInvalidArgument, "an integer of {} digits, {} can be printed", text.size(),
         kMaxIntDigits);
  }
  return text;
}

void charge_number(Budget& budget, const Value& number) {
  if (!number.is(Kind::kBigInt)) return;
  const std::size_t bytes = number.as<BigIntObject>().value.bytes();
  budget.work(bytes * bytes / 8);
}

std::optional<BigInt> parse_int(std::string_view text, int base) {
  const auto numeral = ascii_numeral(text);
  if (!numeral) return std::nullopt;
  std::string_view digits = *numeral;
  bool negative = false;
  if (!digits.empty() && (digits[0] == '+' || digits[0] == '-')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (digits.empty() || !take_prefix(digits, base)) return std::nullopt;
  const auto valid = [base](char c) { return numeral_digit(c) < base; };
  const auto plain = drop_underscores(digits, valid);
  if (!plain || plain->empty() || !std::all_of(plain->begin(), plain->end(), valid)) {
    return std::nullopt;
  }
  if (plain->size() > kMaxIntDigits) {
    fail(ErrorCode::kInvalidArgument, "an integer of {} digits, {} can be read", plain->size(),
         kMaxIntDigits);
  }
  BigInt value = BigInt::parse(*plain, base);
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  const auto numeral = ascii_numeral(text);
  if (!numeral) return std::nullopt;
  const auto is_digit_char = [](char c) { return c >= '0' && c <= '9'; };
  auto plain = drop_underscores(*numeral, is_digit_char);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  std::string word(digits);
  for (char& c : word) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  double value = 0;
  if (word == "inf" || word == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (word == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos) {
      return std::nullopt;
    }
    char* end = nullptr;
    value = read_double(word.c_str(), &end);
    if (end != word.c_str() + word.size() || digits[0] == '+' || digits[0] == '-') {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

Value truncate_to_int(Budget& budget, double value) {
  if (std::isnan(value)) {
    fail(ErrorCode::kInvalidArgument, "cannot convert float NaN to integer");
  }
  if (std::isinf(value)) {
    fail(ErrorCode::kInvalidArgument, "cannot convert float infinity to integer");
  }
  return make_integer(&budget, BigInt::from_double(value));
}

Value round_number(Budget& budget, const Value& number, std::int64_t digits) {
  if (number.is(Kind::kFloat)) {
    return Value::real(round_double(number.as_float(), digits), number.trusted());
  }
  const BigInt whole = to_big(number);
  if (digits >= 0) return make_integer(&budget, whole, number.trusted());
  if (digits < -static_cast<std::int64_t>(kMaxIntDigits)) return Value::integer(0);
  const BigInt unit = BigInt(10).power(static_cast<std::uint64_t>(-digits));
  auto [quotient, remainder] = whole.divide(unit);
  const int half = (remainder * BigInt(2)).compare(unit);
  const bool odd = !quotient.divide(BigInt(2)).remainder.zero();
  if (half > 0 || (half == 0 && odd)) quotient = quotient + BigInt(1);
  return make_integer(&budget, quotient * unit, number.trusted());
}

}  // namespace sampan::jinja
