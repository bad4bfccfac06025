#include <algorithm>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/descent.h"
#include "text/jinja/filters.h"
#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/tests.h"

// Expressions.
namespace sampan::jinja {

Value Interpreter::eval(const Expr& node) {
  budget_.step();
  const Descent descent(*this);
  switch (node.kind) {
    case ExprKind::kConst:
      return static_cast<const ConstExpr&>(node).value;
    case ExprKind::kData:
      return string(static_cast<const DataExpr&>(node).text, true);
    case ExprKind::kName:
      return eval_name(static_cast<const NameExpr&>(node));
    case ExprKind::kList:
      return list(eval_all(static_cast<const ListExpr&>(node).items));
    case ExprKind::kTuple:
      return tuple(eval_all(static_cast<const TupleExpr&>(node).items));
    case ExprKind::kDict:
      return eval_dict(static_cast<const DictExpr&>(node));
    case ExprKind::kGetattr: {
      const auto& getattr = static_cast<const GetattrExpr&>(node);
      const Value object = eval(*getattr.node);
      line_ = node.line;
      return get_attribute(*this, object, getattr.attribute);
    }
    case ExprKind::kGetitem:
      return eval_getitem(static_cast<const GetitemExpr&>(node));
    case ExprKind::kCall:
      return eval_call(static_cast<const CallExpr&>(node));
    case ExprKind::kFilter:
      return eval_filter(static_cast<const FilterExpr&>(node), nullptr);
    case ExprKind::kTest:
      return eval_test(static_cast<const TestExpr&>(node));
    case ExprKind::kUnary:
      return eval_unary(static_cast<const UnaryExpr&>(node));
    case ExprKind::kBinary:
      return eval_binary(static_cast<const BinaryExpr&>(node));
    case ExprKind::kAnd: {
      const auto& both = static_cast<const AndExpr&>(node);
      Value left = eval(*both.left);
      return truthy(*this, left) ? eval(*both.right) : left;
    }
    case ExprKind::kOr: {
      const auto& either = static_cast<const OrExpr&>(node);
      Value left = eval(*either.left);
      return truthy(*this, left) ? left : eval(*either.right);
    }
    case ExprKind::kConcat:
      return eval_concat(static_cast<const ConcatExpr&>(node));
    case ExprKind::kCompare:
      return eval_compare(static_cast<const CompareExpr&>(node));
    case ExprKind::kCondition: {
      const auto& condition = static_cast<const ConditionExpr&>(node);
      if (truthy(*this, eval(*condition.test))) return eval(*condition.value);
      if (condition.otherwise != nullptr) return eval(*condition.otherwise);
      return undefined("the inline if-expression on line " + std::to_string(node.line) +
                       " evaluated to false and no else section was defined.");
    }
    case ExprKind::kSlice:
    case ExprKind::kNamespaceRef:
      break;
  }
  SAMPAN_CHECK(false);
  return {};
}

std::vector<Value> Interpreter::eval_all(const std::vector<ExprPtr>& nodes) {
  std::vector<Value> values;
  values.reserve(nodes.size());
  for (const auto& node : nodes) values.push_back(eval(*node));
  return values;
}

Value Interpreter::eval_name(const NameExpr& node) {
  const Value& value = slot(node.slot);
  if (!value.missing()) return value;
  return undefined("'" + printable(node.name) + "' is undefined");
}

Value Interpreter::eval_dict(const DictExpr& node) {
  std::vector<DictObject::Entry> entries;
  entries.reserve(node.items.size());
  for (const auto& [key_node, value_node] : node.items) {
    Value key = eval(*key_node);
    Value value = eval(*value_node);
    line_ = node.line;
    require_hashable(key);
    entries.emplace_back(std::move(key), std::move(value));
  }
  return dict(std::move(entries));
}

Value Interpreter::eval_getitem(const GetitemExpr& node) {
  const Value object = eval(*node.node);
  if (node.argument->kind == ExprKind::kSlice) {
    return eval_slice(object, static_cast<const SliceExpr&>(*node.argument));
  }
  const Value key = eval(*node.argument);
  line_ = node.line;
  return get_item(*this, object, key);
}

Value Interpreter::eval_slice(const Value& object, const SliceExpr& node) {
  const auto bound = [this](const ExprPtr& part) {
    return part == nullptr ? Value() : eval(*part);
  };
  const Value start = bound(node.start);
  const Value stop = bound(node.stop);
  const Value step = bound(node.step);
  line_ = node.line;
  return slice(*this, object, start, stop, step);
}

void Interpreter::add_keywords(CallArgs& args, const Value& mapping) {
  if (mapping.is_undefined()) undefined_error(mapping);
  if (!mapping.is(Kind::kDict)) {
    fail(ErrorCode::kInvalidArgument, "argument after ** must be a mapping, not {}",
         type_name(mapping));
  }
  for (const auto& [key, value] : mapping.as_dict().entries()) {
    if (!key.is_string()) fail(ErrorCode::kInvalidArgument, "keywords must be strings");
    std::string name(key.as_string().view());
    const bool twice = std::any_of(args.keywords.begin(), args.keywords.end(),
                                   [&](const auto& keyword) { return keyword.first == name; });
    if (twice) {
      fail(ErrorCode::kInvalidArgument, "got multiple values for keyword argument '{}'",
           printable(name));
    }
    budget_.work(args.keywords.size() * sizeof(Value));
    args.keywords.emplace_back(std::move(name), value);
  }
}

CallArgs Interpreter::eval_arguments(const Arguments& arguments) {
  CallArgs args;
  args.positional = eval_all(arguments.positional);
  for (const auto& [name, node] : arguments.keywords) args.keywords.emplace_back(name, eval(*node));
  if (arguments.more_positional != nullptr) {
    for_each(*this, eval(*arguments.more_positional), [&](const Value& item) {
      args.positional.push_back(item);
      return true;
    });
  }
  if (arguments.more_keywords != nullptr) add_keywords(args, eval(*arguments.more_keywords));
  return args;
}

Value Interpreter::eval_call(const CallExpr& node, const Value* caller) {
  const Value callee = eval(*node.node);
  CallArgs args = eval_arguments(node.arguments);
  if (caller != nullptr) args.keywords.emplace_back("caller", *caller);
  line_ = node.line;
  return call(callee, std::move(args));
}

Value Interpreter::call(const Value& callee, CallArgs args) {
  budget_.step();
  switch (callee.kind()) {
    case Kind::kUndefined:
      undefined_error(callee);
    case Kind::kMethod: {
      const auto& method = callee.as<MethodObject>();
      return method.info->function(*this, method.self, args);
    }
    case Kind::kFunction:
      return call_function(*this, callee, args);
    case Kind::kMacro:
      return call_macro(callee.as<MacroObject>(), std::move(args));
    case Kind::kLoop:
      return call_loop(callee.as<LoopObject>(), std::move(args));
    case Kind::kJoiner:
      return call_joiner(*this, callee, args);
    default:
      fail(ErrorCode::kInvalidArgument, "'{}' object is not callable", type_name(callee));
  }
}

// `content`: what an innermost filter without a node of its own applies to.
Value Interpreter::eval_filter(const FilterExpr& node, const Value* content) {
  Value subject;
  if (node.node == nullptr) {
    SAMPAN_CHECK(content != nullptr);
    subject = *content;
  } else if (content != nullptr) {
    const Descent descent(*this);
    subject = eval_filter(static_cast<const FilterExpr&>(*node.node), content);
  } else {
    subject = eval(*node.node);
  }
  CallArgs args = eval_arguments(node.arguments);
  line_ = node.line;
  if (node.info == nullptr) {
    fail(ErrorCode::kInvalidArgument, "No filter named '{}' found.", printable(node.name));
  }
  budget_.step();
  return node.info->function(*this, subject, args);
}

Value Interpreter::eval_test(const TestExpr& node) {
  const Value subject = eval(*node.node);
  CallArgs args = eval_arguments(node.arguments);
  line_ = node.line;
  if (node.info == nullptr) {
    fail(ErrorCode::kInvalidArgument, "No test named '{}' found.", printable(node.name));
  }
  return Value::boolean(node.info->function(*this, subject, args));
}

namespace {

// Throws for a filter or test that a template names at run time and that isn't there.
[[noreturn]] void unknown_callable(const char* what, const Value& name) {
  if (name.is_undefined()) undefined_error(name);
  fail(ErrorCode::kInvalidArgument, "No {} named '{}'.", what,
       name.is_string() ? printable(name.as_string().view()) : type_name(name));
}

}  // namespace

Value Interpreter::apply_filter(const Value& name, const Value& subject, CallArgs args) {
  require_hashable(name);
  const FilterInfo* filter = name.is_string() ? find_filter(name.as_string().view()) : nullptr;
  if (filter == nullptr) unknown_callable("filter", name);
  budget_.step();
  return filter->function(*this, subject, args);
}

bool Interpreter::apply_test(const Value& name, const Value& subject, CallArgs args) {
  require_hashable(name);
  const TestInfo* test = name.is_string() ? find_test(name.as_string().view()) : nullptr;
  if (test == nullptr) unknown_callable("test", name);
  budget_.step();
  return test->function(*this, subject, args);
}

Value Interpreter::eval_unary(const UnaryExpr& node) {
  const Value value = eval(*node.node);
  line_ = node.line;
  return unary(*this, node.op, value);
}

Value Interpreter::eval_binary(const BinaryExpr& node) {
  const Value left = eval(*node.left);
  const Value right = eval(*node.right);
  line_ = node.line;
  return binary(*this, node.op, left, right);
}

Value Interpreter::eval_concat(const ConcatExpr& node) {
  TextBuilder out(budget_);
  const std::vector<Value> parts = eval_all(node.nodes);
  line_ = node.line;
  for (const Value& part : parts) append_str(*this, out, part);
  return string(out.take());
}

Value Interpreter::eval_compare(const CompareExpr& node) {
  Value left = eval(*node.first);
  for (std::size_t i = 0; i < node.rest.size(); ++i) {
    const auto& [op, operand] = node.rest[i];
    Value right = eval(*operand);
    line_ = node.line;
    if (!compare(*this, op, left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

}  // namespace sampan::jinja
