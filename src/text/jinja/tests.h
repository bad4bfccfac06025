#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
struct CallArgs;

// subject is name(args)
using TestFunction = bool (*)(Interpreter& interpreter, const Value& subject, CallArgs& args);

struct TestInfo {
  std::string_view name;
  TestFunction function;
};

// The test of that name, or null. All tests of Jinja 3.1.
const TestInfo* find_test(std::string_view name);

}  // namespace sampan::jinja
