#include "text/jinja/interpreter.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/descent.h"
#include "text/jinja/filters.h"
#include "text/jinja/functions.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"

// Statements, variables and calls.
namespace sampan::jinja {

bool LoopObject::advance(Interpreter& interpreter, Value& item) {
  if (!after.missing()) {
    item = std::move(after);
    after = Value();
  } else if (!iterator->next(interpreter, item)) {
    return false;
  }
  ++index0;
  before = std::move(current);
  current = item;
  return true;
}

const Value& LoopObject::peek(Interpreter& interpreter) {
  if (after.missing()) iterator->next(interpreter, after);
  return after;
}

namespace {

// The rest of an iterator, pulled out to be counted.
class RestIterator final : public IteratorObject {
 public:
  RestIterator(Budget* budget, std::vector<Value> items)
      : IteratorObject(budget, sizeof(*this) + items.size() * sizeof(Value), nest_depth(items)),
        items_(std::move(items)) {}
  bool next(Interpreter&, Value& item) override {
    if (position_ >= items_.size()) return false;
    item = items_[position_++];
    return true;
  }

 private:
  const std::vector<Value> items_;
  std::size_t position_ = 0;
};

}  // namespace

std::int64_t LoopObject::length(Interpreter& interpreter) {
  if (known_length >= 0) return known_length;
  if (const auto size = length_of(interpreter, iterable)) {
    known_length = *size;
    return known_length;
  }
  std::vector<Value> rest;
  Value item;
  while (iterator->next(interpreter, item)) rest.push_back(item);
  known_length = static_cast<std::int64_t>(rest.size()) + index0 + 1 + !after.missing();
  iterator = Ref<IteratorObject>(new RestIterator(&interpreter.budget(), std::move(rest)));
  return known_length;
}

// Makes an activation the current one, and the former one again at the end; empties it then unless
// a macro needs it.
class Interpreter::ActivationScope {
 public:
  ActivationScope(Interpreter& interpreter, Ref<Activation> activation)
      : interpreter_(interpreter),
        former_(std::exchange(interpreter.activation_, std::move(activation))) {}
  ~ActivationScope() {
    Ref<Activation> ended = std::exchange(interpreter_.activation_, former_);
    if (ended && ended.get() != former_.get() && !ended->captured && !kept_) ended->slots.clear();
  }
  ActivationScope(const ActivationScope&) = delete;
  ActivationScope& operator=(const ActivationScope&) = delete;
  // The activation goes on to be used.
  void keep() { kept_ = true; }

 private:
  Interpreter& interpreter_;
  Ref<Activation> former_;
  bool kept_ = false;
};

Interpreter::Interpreter(Budget& budget, const TemplateTree& tree,
                         std::map<std::string, Value> variables, Clock clock)
    : budget_(budget),
      tree_(tree),
      variables_(std::move(variables)),
      clock_(std::move(clock)),
      root_output_(budget.limits().max_output_bytes, "output") {}

Interpreter::~Interpreter() {
  for (const Value& value : namespaces_) value.as_mutable<NamespaceObject>().clear();
  for (const Value& value : loops_) {
    auto& loop = value.as_mutable<LoopObject>();
    loop.changed = loop.before = loop.current = loop.after = Value();
  }
  for (const auto& activation : captured_) activation->slots.clear();
  if (activation_) activation_->slots.clear();
}

Text Interpreter::run() {
  output_ = &root_output_;
  const ActivationScope scope(*this, Ref<Activation>(new Activation(&budget_, tree_.slots, {})));
  enter(tree_.loads);
  exec(tree_.body);
  return root_output_.take();
}

// Variables.

Value& Interpreter::slot(const Slot& at) {
  Activation* activation = activation_.get();
  for (std::uint32_t hops = at.hops; hops > 0; --hops) activation = activation->parent.get();
  SAMPAN_CHECK(at.index < activation->slots.size());
  return activation->slots[at.index];
}

const Value* Interpreter::resolve(const std::string& name) const {
  for (auto scope = block_scopes_.rbegin(); scope != block_scopes_.rend(); ++scope) {
    if (const auto at = (*scope)->find(name); at != (*scope)->end()) return &at->second;
  }
  if (const auto at = exported_.find(name); at != exported_.end()) return &at->second;
  const auto at = variables_.find(name);
  return at == variables_.end() ? nullptr : &at->second;
}

void Interpreter::enter(const FrameLoads& loads) {
  for (const auto& load : loads.loads) {
    Value value;
    switch (load.action) {
      case FrameLoads::Action::kParameter:
        continue;
      case FrameLoads::Action::kResolve: {
        const Value* known = resolve(load.name);
        value = known != nullptr ? *known : global_function(load.name);
        break;
      }
      case FrameLoads::Action::kAlias:
        value = slot(load.source);
        break;
      case FrameLoads::Action::kUndefined:
        break;
    }
    slot({0, load.index}) = std::move(value);
  }
}

void Interpreter::leave(const FrameLoads& loads) {
  for (const auto& load : loads.loads) slot({0, load.index}) = Value();
}

void Interpreter::assign(const Expr& target, const Value& value) {
  switch (target.kind) {
    case ExprKind::kName:
      slot(static_cast<const NameExpr&>(target).slot) = value;
      return;
    case ExprKind::kNamespaceRef: {
      const auto& ref = static_cast<const NamespaceRefExpr&>(target);
      const Value ns = slot(ref.slot);
      line_ = target.line;
      if (!ns.is(Kind::kNamespace)) {
        fail(ErrorCode::kInvalidArgument, "cannot assign attribute on non-namespace object");
      }
      if (ref.attribute.as_string().view().starts_with('_')) {
        fail(ErrorCode::kInvalidArgument, "a namespace cannot store '{}'",
             printable(ref.attribute.as_string().view()));
      }
      ns.as_mutable<NamespaceObject>().set(ref.attribute, value);
      return;
    }
    default: {
      const auto& targets = static_cast<const TupleExpr&>(target).items;
      line_ = target.line;
      if (!is_iterable(value)) {
        fail(ErrorCode::kInvalidArgument, "cannot unpack non-iterable {} object", type_name(value));
      }
      std::vector<Value> parts;
      for_each(*this, value, [&](const Value& part) {
        parts.push_back(part);
        return parts.size() <= targets.size();
      });
      if (parts.size() != targets.size()) {
        fail(ErrorCode::kInvalidArgument, "{} values to unpack (expected {})",
             parts.size() < targets.size() ? "not enough" : "too many", targets.size());
      }
      for (std::size_t i = 0; i < parts.size(); ++i) assign(*targets[i], parts[i]);
    }
  }
}

void Interpreter::export_names(const std::vector<std::pair<std::string, Slot>>& names) {
  for (const auto& [name, at] : names) exported_[name] = slot(at);
}

void Interpreter::capture() {
  // Every enclosing function's variables may be read by the macro.
  for (Activation* activation = activation_.get(); activation != nullptr && !activation->captured;
       activation = activation->parent.get()) {
    activation->captured = true;
    captured_.emplace_back(activation);
  }
}

Value Interpreter::make_macro(const MacroFunction& function) {
  capture();
  return make_value<MacroObject>(Kind::kMacro, &budget_, &function, activation_);
}

Value Interpreter::make_namespace(CallArgs args) {
  const Value attributes = make_dict(*this, args);
  Value ns = make_value<NamespaceObject>(Kind::kNamespace, &budget_);
  namespaces_.push_back(ns);
  for (const auto& [name, value] : attributes.as_dict().entries()) {
    if (name.is_string() && name.as_string().view().starts_with('_')) {
      fail(ErrorCode::kInvalidArgument, "a namespace cannot store '{}'",
           printable(name.as_string().view()));
    }
    ns.as_mutable<NamespaceObject>().set(name, value);
  }
  return ns;
}

// Statements.

Interpreter::Flow Interpreter::exec(const Body& body) {
  const Descent descent(*this);
  for (const auto& node : body) {
    const Flow flow = exec(*node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec(const Stmt& node) {
  budget_.step();
  line_ = node.line;
  switch (node.kind) {
    case StmtKind::kOutput:
      exec_output(static_cast<const OutputStmt&>(node));
      return Flow::kNext;
    case StmtKind::kFor:
      return exec_for(static_cast<const ForStmt&>(node));
    case StmtKind::kIf:
      return exec_if(static_cast<const IfStmt&>(node));
    case StmtKind::kMacro:
      exec_macro(static_cast<const MacroStmt&>(node));
      return Flow::kNext;
    case StmtKind::kCallBlock:
      exec_call_block(static_cast<const CallBlockStmt&>(node));
      return Flow::kNext;
    case StmtKind::kFilterBlock:
      return exec_filter_block(static_cast<const FilterBlockStmt&>(node));
    case StmtKind::kWith:
      return exec_with(static_cast<const WithStmt&>(node));
    case StmtKind::kBlock:
      exec_block(static_cast<const BlockStmt&>(node));
      return Flow::kNext;
    case StmtKind::kLoader:
      eval(*static_cast<const LoaderStmt&>(node).source);
      fail(ErrorCode::kInvalidArgument, "{}: no loader for this environment specified",
           static_cast<const LoaderStmt&>(node).tag);
    case StmtKind::kAssign:
      exec_assign(static_cast<const AssignStmt&>(node));
      return Flow::kNext;
    case StmtKind::kAssignBlock:
      return exec_assign_block(static_cast<const AssignBlockStmt&>(node));
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

void Interpreter::exec_output(const OutputStmt& node) {
  // A buffered block's values are all computed before any is written, which shows only when one of
  // them fails.
  for (const auto& child : node.nodes) {
    if (child->kind == ExprKind::kData) {
      const std::string& text = static_cast<const DataExpr&>(*child).text;
      budget_.work(text.size());
      output_->append(text, true);
    } else {
      const Value value = eval(*child);
      line_ = child->line;
      append_str(*this, *output_, value);
    }
  }
}

// Jinja prints the result of a call or filter block as it is, which works for strings alone.
void Interpreter::append_string(const Value& value) {
  if (!value.is_string()) {
    fail(ErrorCode::kInvalidArgument, "a block gives '{}' where a string is needed",
         type_name(value));
  }
  append_str(*this, *output_, value);
}

Interpreter::Flow Interpreter::exec_if(const IfStmt& node) {
  for (const auto& branch : node.branches) {
    line_ = branch.line;
    if (truthy(*this, eval(*branch.test))) return exec(branch.body);
  }
  return exec(node.otherwise);
}

Interpreter::Flow Interpreter::exec_for(const ForStmt& node) {
  const Value iterable = eval(*node.iterable);
  line_ = node.line;
  if (!node.recursive) return run_loop(node, iterable, 0, activation_);
  Text content;
  {
    const Ref<Activation> closure = activation_;
    const ActivationScope scope(
        *this, Ref<Activation>(new Activation(&budget_, node.recursive_slots, closure)));
    TextBuilder buffer(budget_);
    TextBuilder* const former = std::exchange(output_, &buffer);
    run_loop(node, iterable, 0, closure);
    output_ = former;
    content = buffer.take();
  }
  output_->append(content);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_loop(const ForStmt& node, const Value& iterable,
                                        std::int64_t depth, const Ref<Activation>& closure) {
  Ref<IteratorObject> source =
      node.test == nullptr ? iterate(*this, iterable) : filter_loop(*this, node, closure, iterable);
  Value loop;
  if (node.has_loop) {
    const Value counted = node.test == nullptr ? iterable : iterator_value(source);
    loop = make_value<LoopObject>(Kind::kLoop, &budget_, counted, source, depth);
    if (node.recursive) {
      auto& object = loop.as_mutable<LoopObject>();
      object.recursive = &node;
      object.closure = closure;
    }
  }
  bool completed = false;  // a body ran to its end: Jinja's else runs unless one did
  while (true) {
    Value item;
    const bool more = node.has_loop ? loop.as_mutable<LoopObject>().advance(*this, item)
                                    : source->next(*this, item);
    if (!more) break;
    assign(*node.target, item);
    if (node.has_loop) slot(node.loop_slot) = loop;
    enter(node.body_loads);
    const Flow flow = exec(node.body);
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kNext;
  }
  leave(node.body_loads);
  if (completed || node.otherwise.empty()) return Flow::kNext;
  enter(node.otherwise_loads);
  const Flow flow = exec(node.otherwise);
  leave(node.otherwise_loads);
  return flow;
}

Ref<Activation> Interpreter::enter_loop_test(const ForStmt& loop, const Ref<Activation>& outer) {
  Ref<Activation> activation(new Activation(&budget_, loop.test_slots, outer));
  ActivationScope scope(*this, activation);
  scope.keep();
  enter(loop.test_loads);
  return activation;
}

bool Interpreter::test_loop_item(const ForStmt& loop, Activation& activation, const Value& item) {
  ActivationScope scope(*this, Ref<Activation>(&activation));
  scope.keep();
  assign(*loop.test_target, item);
  return truthy(*this, eval(*loop.test));
}

Interpreter::Flow Interpreter::exec_with(const WithStmt& node) {
  enter(node.loads);
  for (std::size_t i = 0; i < node.targets.size(); ++i) {
    assign(*node.targets[i], eval(*node.values[i]));
  }
  const Flow flow = exec(node.body);
  leave(node.loads);
  return flow;
}

Interpreter::Flow Interpreter::buffered(const Body& body, Text& out) {
  TextBuilder buffer(budget_);
  TextBuilder* const former = std::exchange(output_, &buffer);
  const Flow flow = exec(body);
  output_ = former;
  out = buffer.take();
  return flow;
}

Interpreter::Flow Interpreter::exec_filter_block(const FilterBlockStmt& node) {
  enter(node.loads);
  Text content;
  const Flow flow = buffered(node.body, content);
  if (flow == Flow::kNext) {
    const Value text = string(std::move(content));
    const Value filtered = eval_filter(static_cast<const FilterExpr&>(*node.filter), &text);
    append_string(filtered);
  }
  leave(node.loads);
  return flow;
}

Interpreter::Flow Interpreter::exec_assign_block(const AssignBlockStmt& node) {
  enter(node.loads);
  Text content;
  const Flow flow = buffered(node.body, content);
  if (flow == Flow::kNext) {
    Value value = string(std::move(content));
    if (node.filter != nullptr) {
      value = eval_filter(static_cast<const FilterExpr&>(*node.filter), &value);
    }
    assign(*node.target, value);
    export_names(node.exports);
  }
  leave(node.loads);
  return flow;
}

void Interpreter::exec_assign(const AssignStmt& node) {
  const Value value = eval(*node.value);
  line_ = node.line;
  assign(*node.target, value);
  export_names(node.exports);
}

void Interpreter::exec_macro(const MacroStmt& node) {
  const Value macro = make_macro(node.function);
  slot(node.slot) = macro;
  if (node.exported) exported_[node.function.name] = macro;
}

void Interpreter::exec_call_block(const CallBlockStmt& node) {
  if (node.call != nullptr) {
    const Value caller = make_macro(node.function);
    return append_string(eval_call(*node.call, &caller));
  }
  // {% generation %}: a macro that nothing else sees. transformers counts from what has been
  // written at the top, even within a macro.
  const Value macro = make_value<MacroObject>(Kind::kMacro, &budget_, &node.function, activation_);
  const std::size_t begin = root_output_.size();
  const Value content = call(macro, {});
  spans_.emplace_back(begin, begin + content.as_string().view().size());
  append_str(*this, *output_, content);
}

void Interpreter::exec_block(const BlockStmt& node) {
  if (node.required) {
    fail(ErrorCode::kInvalidArgument, "Required block '{}' not found", printable(node.name));
  }
  std::map<std::string, Value> visible;
  for (const auto& [name, at] : node.visible) {
    const Value& value = slot(at);
    if (!value.missing()) visible[name] = value;
  }
  const ActivationScope scope(*this, Ref<Activation>(new Activation(&budget_, node.slots, {})));
  if (node.scoped) block_scopes_.push_back(&visible);
  enter(node.loads);
  exec(node.body);
  if (node.scoped) block_scopes_.pop_back();
}

// Calls.

void Interpreter::bind_macro(const MacroFunction& function, CallArgs args) {
  const std::size_t count = function.parameters.size();
  const auto take_keyword = [&](std::string_view name) {
    for (auto keyword = args.keywords.begin(); keyword != args.keywords.end(); ++keyword) {
      if (keyword->first != name) continue;
      Value value = std::move(keyword->second);
      args.keywords.erase(keyword);
      return value;
    }
    return Value();
  };
  std::vector<Value>& slots = activation_->slots;
  bool found_caller = function.explicit_caller;
  for (std::size_t i = 0; i < count; ++i) {
    const NameExpr& parameter = *function.parameters[i];
    slots[parameter.slot.index] =
        i < args.positional.size() ? args.positional[i] : take_keyword(parameter.name);
  }
  if (function.uses_caller && !found_caller) {
    Value caller = take_keyword("caller");
    slots[function.caller_slot] =
        caller.missing() || caller.is_none() ? undefined("No caller defined") : std::move(caller);
  }
  if (function.uses_keywords) {
    CallArgs rest;
    rest.keywords = std::move(args.keywords);
    slots[function.keywords_slot] = make_dict(*this, rest);
  } else if (!args.keywords.empty()) {
    fail(ErrorCode::kInvalidArgument, "macro '{}' takes no keyword argument '{}'",
         printable(function.name), printable(args.keywords[0].first));
  }
  if (function.uses_positional) {
    std::vector<Value> rest;
    for (std::size_t i = count; i < args.positional.size(); ++i) rest.push_back(args.positional[i]);
    slots[function.positional_slot] = tuple(std::move(rest));
  } else if (args.positional.size() > count) {
    fail(ErrorCode::kInvalidArgument, "macro '{}' takes not more than {} argument(s)",
         printable(function.name), count);
  }
}

Value Interpreter::call_macro(const MacroObject& macro, CallArgs args) {
  const Descent descent(*this);
  if (calls_ >= budget_.limits().max_call_depth) {
    fail(ErrorCode::kLimit, "calls nested more than {} deep", budget_.limits().max_call_depth);
  }
  const MacroFunction& function = *macro.function;
  const ActivationScope scope(
      *this, Ref<Activation>(new Activation(&budget_, function.slots, macro.closure)));
  ++calls_;
  bind_macro(function, std::move(args));
  enter(function.loads);
  const std::size_t count = function.parameters.size();
  for (std::size_t i = 0; i < count; ++i) {
    const NameExpr& parameter = *function.parameters[i];
    if (!slot(parameter.slot).missing()) continue;
    const std::size_t from_end = count - i;
    Value value = from_end <= function.defaults.size()
                      ? eval(*function.defaults[function.defaults.size() - from_end])
                      : undefined("parameter '" + printable(parameter.name) + "' was not provided");
    slot(parameter.slot) = std::move(value);
  }
  Text content;
  buffered(function.body, content);
  --calls_;
  return string(std::move(content));
}

Value Interpreter::call_loop(const LoopObject& loop, CallArgs args) {
  const Descent descent(*this);
  const Parameters given("loop", args, {"iterable"}, 1);
  if (loop.recursive == nullptr) {
    fail(ErrorCode::kInvalidArgument,
         "The loop must have the 'recursive' marker to be called recursively.");
  }
  if (calls_ >= budget_.limits().max_call_depth) {
    fail(ErrorCode::kLimit, "calls nested more than {} deep", budget_.limits().max_call_depth);
  }
  const ForStmt& node = *loop.recursive;
  const Ref<Activation> closure = loop.closure;
  const std::int64_t depth = loop.depth0 + 1;
  const ActivationScope scope(
      *this, Ref<Activation>(new Activation(&budget_, node.recursive_slots, closure)));
  ++calls_;
  TextBuilder buffer(budget_);
  TextBuilder* const former = std::exchange(output_, &buffer);
  run_loop(node, given[0], depth, closure);
  output_ = former;
  --calls_;
  return string(buffer.take());
}

}  // namespace sampan::jinja
