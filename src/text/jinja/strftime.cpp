#include "text/jinja/strftime.h"

#include <fmt/format.h>
#include <locale.h>
#include <time.h>

#include <array>
#include <ctime>

#include "base/error.h"

namespace sampan::jinja {
namespace {

// One directive by the C library, which leaves what it doesn't know as it is.
std::string format_directive(const std::string& directive, const std::tm& time) {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  std::array<char, 256> buffer;
  const std::size_t size =
      strftime_l(buffer.data(), buffer.size(), directive.c_str(), &time, plain);
  return {buffer.data(), size};
}

}  // namespace

std::string format_time(std::string_view format, std::chrono::system_clock::time_point now) {
  if (format.find('\0') != std::string_view::npos) {
    fail(ErrorCode::kInvalidArgument, "strftime_now: embedded null character");
  }
  const auto microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(
      std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count());
  std::tm time{};
  localtime_r(&seconds, &time);
  std::string out;
  for (std::size_t i = 0; i < format.size();) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out.push_back(format[i++]);
      continue;
    }
    // Flags and a width may stand between % and the letter, as the C library allows them.
    std::size_t end = i + 1;
    while (end < format.size() &&
           std::string_view("_-^#EO0123456789").find(format[end]) != std::string_view::npos) {
      ++end;
    }
    if (end >= format.size()) {
      out += format.substr(i);
      break;
    }
    const std::string directive(format.substr(i, end - i + 1));
    if (directive == "%f") {
      out += fmt::format("{:06}", ((microseconds % 1'000'000) + 1'000'000) % 1'000'000);
    } else if (directive != "%z" && directive != "%Z") {  // both are empty for a time without zone
      out += format_directive(directive, time);
    }
    i = end + 1;
  }
  return out;
}

}  // namespace sampan::jinja
