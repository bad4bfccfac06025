#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace sampan {

// Reads one JSON value a line from a file ("-" for standard input) and prints what `reply` makes of it, one line each, flushed at
// once, so that another program can talk with this one. A line that is not JSON, or that reply refuses with an Error, ends the
// command: "FILE: line 3: …". A lone surrogate escape (\\ud800) in a string reads as U+FFFD.
void for_each_json_line(const std::string& file, const std::function<std::string(const nlohmann::json&)>& reply);

// The same with the line's text, unparsed.
void for_each_line(const std::string& file, const std::function<std::string(const std::string&)>& reply);

}  // namespace sampan
