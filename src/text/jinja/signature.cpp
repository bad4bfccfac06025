#include "text/jinja/signature.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"

namespace sampan::jinja {

Parameters::Parameters(const char* function, CallArgs& args,
                       std::initializer_list<const char*> names, std::size_t required)
    : function_(function), values_(names.size()) {
  if (args.positional.size() > names.size()) {
    fail(ErrorCode::kInvalidArgument, "{}() takes at most {} arguments ({} given)", function,
         names.size(), args.positional.size());
  }
  std::move(args.positional.begin(), args.positional.end(), values_.begin());
  for (auto& [key, value] : args.keywords) {
    const auto* name = std::find(names.begin(), names.end(), std::string_view(key));
    if (name == names.end()) {
      fail(ErrorCode::kInvalidArgument, "{}() got an unexpected keyword argument '{}'", function,
           printable(key));
    }
    Value& place = values_[static_cast<std::size_t>(name - names.begin())];
    if (!place.missing()) {
      fail(ErrorCode::kInvalidArgument, "{}() got multiple values for argument '{}'", function,
           key);
    }
    place = std::move(value);
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (values_[i].missing()) {
      fail(ErrorCode::kInvalidArgument, "{}() missing required argument '{}'", function,
           names.begin()[i]);
    }
  }
}

Parameters Parameters::positional(const char* function, CallArgs& args, std::size_t required,
                                  std::size_t most) {
  if (!args.keywords.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}() takes no keyword arguments", function);
  }
  const std::size_t count = args.positional.size();
  if (count < required || count > most) {
    fail(ErrorCode::kInvalidArgument, "{}() takes from {} to {} arguments ({} given)", function,
         required, most, count);
  }
  std::vector<Value> values = std::move(args.positional);
  values.resize(most);
  return {function, std::move(values)};
}

std::int64_t Parameters::integer(std::size_t index, std::int64_t otherwise) const {
  return has(index) ? to_index(values_[index]) : otherwise;
}

const StringObject& Parameters::string(std::size_t index) const {
  if (!values_[index].is_string()) {
    fail(ErrorCode::kInvalidArgument, "{}() argument {} must be str, not {}", function_, index + 1,
         type_name(values_[index]));
  }
  return values_[index].as_string();
}

bool Parameters::truth(Interpreter& interpreter, std::size_t index, bool otherwise) const {
  return has(index) ? truthy(interpreter, values_[index]) : otherwise;
}

}  // namespace sampan::jinja
