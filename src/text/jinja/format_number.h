#pragma once

#include <string>

#include "text/jinja/value.h"

namespace sampan::jinja {

// How a number is written; what %-formatting and format specifications have in common.
struct NumberStyle {
  char type = 'd';     // d x X o b for integers; e E f F g G % for floats; 0: str() of a float
  int precision = -1;  // -1: the type's default
  bool alternate = false;
  char sign = '-';  // '-': only minus, '+' and ' ' as Python
  char group = 0;   // ',' or '_' between digits, 0 none
};

// A number's sign and prefix, and its digits, apart so that zeros can be put between.
struct NumberText {
  std::string sign;
  std::string digits;
};

NumberText format_integer(const Value& integral, const NumberStyle& style);
NumberText format_float(double value, const NumberStyle& style);
// Separators between groups of digits, and zeros in front until sign and digits are `width` long.
std::string group_digits(const std::string& digits, char separator, int group_size,
                         std::size_t min_width);

}  // namespace sampan::jinja
