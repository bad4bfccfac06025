#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

// Python's numbers: integers of any size, bool as one of them, and floats. What Python refuses
// throws Error kInvalidArgument with Python's words.
namespace sampan::jinja {

enum class Arithmetic : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};

// int and bool of any size as a BigInt.
BigInt to_big(const Value& integral);
// Any number as a double; throws where an int is too large for one.
double to_double(const Value& number);
// An integral value as an int64 where it fits.
std::optional<std::int64_t> to_int64(const Value& integral);
// An integral value, clamped to the int64 range: for slice bounds, counts and widths, where more
// makes no difference. Throws "'x' object cannot be interpreted as an integer" for other types.
std::int64_t to_index(const Value& value);

// a op b of two numbers.
Value arithmetic(Budget& budget, Arithmetic op, const Value& a, const Value& b);
Value negate(Budget& budget, const Value& number);
// -1, 0, 1; numbers compare exactly, int with float too. NaN: see compare_with_nan.
int compare_numbers(const Value& a, const Value& b);
bool is_nan(const Value& number);

// repr() of a float: the shortest digits that read back as it.
std::string float_repr(double value);
// The exact value rounded to `precision` digits after the point, ties to even, without an exponent.
// Finite values only.
std::string fixed_digits(double value, int precision);
// str() of an int, bool or float.
std::string number_text(const Value& number);

// Counts the work of printing a number, which for a large integer grows with its length squared.
void charge_number(Budget& budget, const Value& number);

// int(text, base) of Python, with signs, prefixes, underscores and digits of any script; nothing
// where it raises ValueError.
std::optional<BigInt> parse_int(std::string_view text, int base = 10);
// float(text) of Python.
std::optional<double> parse_float(std::string_view text);
// int(number), truncating; throws for infinities and NaN.
Value truncate_to_int(Budget& budget, double value);

// round(number, digits): ints stay ints; ties to even on the exact value.
Value round_number(Budget& budget, const Value& number, std::int64_t digits);

}  // namespace sampan::jinja
