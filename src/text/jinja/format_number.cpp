#include "text/jinja/format_number.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/jinja/number.h"

namespace sampan::jinja {
namespace {

std::string sign_text(bool negative, char style) {
  if (negative) return "-";
  return style == '+' ? "+" : (style == ' ' ? " " : "");
}

std::string to_upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return text;
}

std::string scientific_digits(double value, int precision) {
  std::string out(static_cast<std::size_t>(precision) + 40, '\0');
  const auto end = std::to_chars(out.data(), out.data() + out.size(), value,
                                 std::chars_format::scientific, precision)
                       .ptr;
  out.resize(static_cast<std::size_t>(end - out.data()));
  return out;
}

// Takes trailing zeros, and a trailing point, off the digits before an exponent.
std::string strip_zeros(const std::string& text) {
  const std::size_t e = text.find('e');
  const std::string exponent = e == std::string::npos ? "" : text.substr(e);
  std::string digits = text.substr(0, e);
  if (digits.find('.') != std::string::npos) {
    while (digits.back() == '0') digits.pop_back();
    if (digits.back() == '.') digits.pop_back();
  }
  return digits + exponent;
}

// C's %g.
std::string general_digits(double value, int precision, bool keep_zeros) {
  if (precision == 0) precision = 1;
  const std::string probe = scientific_digits(value, precision - 1);
  const int exponent = std::atoi(probe.c_str() + probe.find('e') + 1);
  std::string text = exponent < -4 || exponent >= precision
                         ? probe
                         : fixed_digits(value, precision - 1 - exponent);
  if (!keep_zeros) return strip_zeros(text);
  if (text.find('.') == std::string::npos) {
    const std::size_t e = text.find('e');
    text.insert(e == std::string::npos ? text.size() : e, ".");
  }
  return text;
}

// What format() does without a type: like g, but with a digit after the point.
std::string plain_digits(double value, int precision) {
  if (precision < 0) return float_repr(value);
  if (precision == 0) precision = 1;
  const std::string probe = scientific_digits(value, precision - 1);
  const int exponent = std::atoi(probe.c_str() + probe.find('e') + 1);
  if (exponent < -4 || exponent >= precision - 1) return strip_zeros(probe);
  std::string text = strip_zeros(fixed_digits(value, precision - 1 - exponent));
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

}  // namespace

NumberText format_integer(const Value& integral, const NumberStyle& style) {
  const BigInt value = to_big(integral);
  const char type = static_cast<char>(style.type | 0x20);
  const int base = type == 'x' ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
  NumberText out;
  out.sign = sign_text(value.negative(), style.sign);
  if (style.alternate && base != 10) out.sign += std::string("0") + style.type;
  const BigInt magnitude = value.negative() ? -value : value;
  out.digits =
      base == 10 ? number_text(make_integer(nullptr, magnitude)) : magnitude.to_string(base);
  if (style.type == 'X') out.digits = to_upper(out.digits);
  if (style.precision > static_cast<int>(out.digits.size())) {
    out.digits.insert(0, static_cast<std::size_t>(style.precision) - out.digits.size(), '0');
  }
  return out;
}

NumberText format_float(double value, const NumberStyle& style) {
  NumberText out;
  out.sign = sign_text(std::signbit(value) && !std::isnan(value), style.sign);
  const bool upper = style.type >= 'A' && style.type <= 'Z';
  const double magnitude = std::fabs(style.type == '%' ? value * 100 : value);
  if (!std::isfinite(magnitude)) {
    out.digits = std::isnan(magnitude) ? "nan" : "inf";
  } else {
    const int precision = style.precision < 0 ? 6 : style.precision;
    switch (style.type) {
      case 'e':
      case 'E':
        out.digits = scientific_digits(magnitude, precision);
        break;
      case 'g':
      case 'G':
        out.digits = general_digits(magnitude, precision, style.alternate);
        break;
      case 0:
        out.digits = plain_digits(magnitude, style.precision);
        break;
      default:
        out.digits = fixed_digits(magnitude, precision);
        break;
    }
    if (style.alternate && precision == 0 && out.digits.find('.') == std::string::npos) {
      const std::size_t e = out.digits.find('e');
      out.digits.insert(e == std::string::npos ? out.digits.size() : e, ".");
    }
  }
  if (upper) out.digits = to_upper(out.digits);
  if (style.type == '%') out.digits += "%";
  return out;
}

std::string group_digits(const std::string& digits, char separator, int group_size,
                         std::size_t min_width) {
  std::size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole])) &&
         (group_size == 4 || (digits[whole] >= '0' && digits[whole] <= '9'))) {
    ++whole;
  }
  const std::string rest = digits.substr(whole);
  std::string reversed;
  int in_group = 0;
  for (std::size_t i = whole; i > 0 || reversed.size() + rest.size() < min_width;) {
    if (separator != 0 && in_group == group_size) {
      reversed.push_back(separator);
      in_group = 0;
    }
    reversed.push_back(i > 0 ? digits[--i] : '0');
    ++in_group;
  }
  return std::string(reversed.rbegin(), reversed.rend()) + rest;
}

}  // namespace sampan::jinja
