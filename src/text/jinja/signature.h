#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "text/jinja/interpreter.h"

namespace sampan::jinja {

// A call's arguments matched to a Python signature: `names` in order, the first `required` of them
// needed. Throws Error kInvalidArgument for too many, too few, unknown and doubled ones, naming the
// function.
class Parameters {
 public:
  Parameters(const char* function, CallArgs& args, std::initializer_list<const char*> names,
             std::size_t required = 0);
  // For what Python writes in C without keywords.
  static Parameters positional(const char* function, CallArgs& args, std::size_t required,
                               std::size_t most);
  // For what takes no arguments: throws if there are any.
  static void none(const char* function, CallArgs& args) {
    static_cast<void>(Parameters(function, args, {}));
  }

  // kMissing where not given.
  const Value& operator[](std::size_t index) const { return values_[index]; }
  bool has(std::size_t index) const { return !values_[index].missing(); }
  std::int64_t integer(std::size_t index, std::int64_t otherwise) const;
  // A string argument's object; throws for other types.
  const StringObject& string(std::size_t index) const;
  bool truth(Interpreter& interpreter, std::size_t index, bool otherwise) const;

 private:
  Parameters(const char* function, std::vector<Value> values)
      : function_(function), values_(std::move(values)) {}

  const char* function_;
  std::vector<Value> values_;
};

}  // namespace sampan::jinja
