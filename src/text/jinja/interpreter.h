#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/budget.h"
#include "text/jinja/iterators.h"
#include "text/jinja/text.h"
#include "text/jinja/value.h"

namespace sampan::jinja {

// The arguments of a call.
struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// The variables of one running function.
class Activation final : public Object {
 public:
  Activation(Budget* budget, std::uint32_t slot_count, Ref<Activation> outer)
      : Object(budget, sizeof(*this) + slot_count * sizeof(Value)),
        slots(slot_count),
        parent(std::move(outer)) {}
  std::vector<Value> slots;
  const Ref<Activation> parent;
  bool captured = false;  // by a macro defined within it
};

// A macro, or the body of a call block.
class MacroObject final : public Object {
 public:
  MacroObject(Budget* budget, const MacroFunction* code, Ref<Activation> scope)
      : Object(budget, sizeof(*this)), function(code), closure(std::move(scope)) {}
  const MacroFunction* const function;
  const Ref<Activation> closure;
};

// `loop` in a loop's body.
class LoopObject final : public Object {
 public:
  LoopObject(Budget* budget, Value over, Ref<IteratorObject> source, std::int64_t depth)
      : Object(budget, sizeof(*this), nest_depth(over)),
        iterable(std::move(over)),
        iterator(std::move(source)),
        depth0(depth) {}

  // Moves to the next item; false at the end.
  bool advance(Interpreter& interpreter, Value& item);
  std::int64_t length(Interpreter& interpreter);
  // The next item, or kMissing at the end.
  const Value& peek(Interpreter& interpreter);

  const Value iterable;
  Ref<IteratorObject> iterator;
  const std::int64_t depth0;
  std::int64_t index0 = -1;
  std::int64_t known_length = -1;
  Value before, current, after;
  Value changed;  // the arguments of the last loop.changed(…)
  // Of a recursive loop: what loop(…) runs.
  const ForStmt* recursive = nullptr;
  Ref<Activation> closure;
};

// The bytes of the output that {% generation %} blocks wrote.
using GenerationSpans = std::vector<std::pair<std::size_t, std::size_t>>;

// Runs one template once. Not thread-safe; the tree may be shared. What a template or its data do
// wrong throws Error, whose message says what without saying where: line() does.
class Interpreter {
 public:
  using Clock = std::function<std::chrono::system_clock::time_point()>;

  // `variables` hide globals of the same name.
  Interpreter(Budget& budget, const TemplateTree& tree, std::map<std::string, Value> variables,
              Clock clock);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Text run();
  const GenerationSpans& generation_spans() const { return spans_; }
  // The line of the template that runs or ran last.
  std::uint32_t line() const { return line_; }

  // What filters, tests and methods work with.
  Budget& budget() { return budget_; }
  const Clock& clock() const { return clock_; }
  Value call(const Value& callee, CallArgs args);
  Value apply_filter(const Value& name, const Value& subject, CallArgs args);
  bool apply_test(const Value& name, const Value& subject, CallArgs args);
  Value make_namespace(CallArgs args);

  Value string(std::string bytes, bool trusted) {
    return make_string(&budget_, std::move(bytes), trusted);
  }
  Value string(Text text, bool markup = false) {
    return make_string(&budget_, std::move(text), markup);
  }
  Value list(std::vector<Value> items) { return make_list(&budget_, std::move(items)); }
  Value tuple(std::vector<Value> items) { return make_tuple(&budget_, std::move(items)); }
  Value dict(std::vector<DictObject::Entry> entries) {
    return make_value<DictObject>(Kind::kDict, &budget_, std::move(entries));
  }
  Value undefined(std::string message) { return make_undefined(&budget_, std::move(message)); }

  // For the iterator behind {% for … if … %}.
  bool test_loop_item(const ForStmt& loop, Activation& activation, const Value& item);
  Ref<Activation> enter_loop_test(const ForStmt& loop, const Ref<Activation>& outer);

 private:
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };
  class Descent;
  class ActivationScope;

  // Expressions (evaluator.cpp).
  Value eval(const Expr& node);
  Value eval_name(const NameExpr& node);
  Value eval_dict(const DictExpr& node);
  Value eval_getitem(const GetitemExpr& node);
  Value eval_slice(const Value& object, const SliceExpr& slice);
  Value eval_call(const CallExpr& node, const Value* caller = nullptr);
  Value eval_filter(const FilterExpr& node, const Value* content);
  Value eval_test(const TestExpr& node);
  Value eval_unary(const UnaryExpr& node);
  Value eval_binary(const BinaryExpr& node);
  Value eval_concat(const ConcatExpr& node);
  Value eval_compare(const CompareExpr& node);
  std::vector<Value> eval_all(const std::vector<ExprPtr>& nodes);
  CallArgs eval_arguments(const Arguments& arguments);
  void add_keywords(CallArgs& args, const Value& mapping);

  // Statements (interpreter.cpp).
  Flow exec(const Body& body);
  Flow exec(const Stmt& node);
  void exec_output(const OutputStmt& node);
  void append_string(const Value& value);
  Flow exec_if(const IfStmt& node);
  Flow exec_for(const ForStmt& node);
  Flow exec_with(const WithStmt& node);
  Flow exec_filter_block(const FilterBlockStmt& node);
  Flow exec_assign_block(const AssignBlockStmt& node);
  void exec_assign(const AssignStmt& node);
  void exec_call_block(const CallBlockStmt& node);
  void exec_macro(const MacroStmt& node);
  void exec_block(const BlockStmt& node);
  // The loop over `iterable` in the current activation.
  Flow run_loop(const ForStmt& node, const Value& iterable, std::int64_t depth,
                const Ref<Activation>& closure);
  Value call_macro(const MacroObject& macro, CallArgs args);
  void bind_macro(const MacroFunction& function, CallArgs args);
  Value call_loop(const LoopObject& loop, CallArgs args);
  Value make_macro(const MacroFunction& function);

  // Variables.
  Value& slot(const Slot& at);
  void enter(const FrameLoads& loads);
  void leave(const FrameLoads& loads);
  void assign(const Expr& target, const Value& value);
  void export_names(const std::vector<std::pair<std::string, Slot>>& names);
  const Value* resolve(const std::string& name) const;
  void capture();

  // Runs `body` with its output going to a text of its own.
  Flow buffered(const Body& body, Text& out);

  Budget& budget_;
  const TemplateTree& tree_;
  const std::map<std::string, Value> variables_;
  std::map<std::string, Value> exported_;                          // set at the top, seen by blocks
  std::vector<const std::map<std::string, Value>*> block_scopes_;  // what scoped blocks see
  const Clock clock_;
  Ref<Activation> activation_;
  TextBuilder* output_ = nullptr;
  TextBuilder root_output_;
  GenerationSpans spans_;
  std::uint32_t line_ = 0;
  std::uint32_t depth_ = 0;
  std::uint32_t calls_ = 0;
  // What can hold a share of itself, emptied at the end.
  std::vector<Ref<Activation>> captured_;
  std::vector<Value> namespaces_;

 public:
  // Has the loop emptied at the end, because loop.changed(…) may have made it hold itself.
  void keep_loop(const Value& loop) { loops_.push_back(loop); }

 private:
  std::vector<Value> loops_;
};

}  // namespace sampan::jinja
