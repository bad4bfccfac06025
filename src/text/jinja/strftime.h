#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace sampan::jinja {

// datetime.now().strftime(format) of Python for the local time of `now`, with the names of the C
// locale. Throws Error kInvalidArgument for a format with a NUL.
std::string format_time(std::string_view format, std::chrono::system_clock::time_point now);

}  // namespace sampan::jinja
