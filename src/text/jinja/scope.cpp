#include "text/jinja/scope.h"

#include <deque>
#include <set>

#include "base/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/symbols.h"
#include "text/jinja/tests.h"
#include "text/jinja/walk.h"

namespace sampan::jinja {
namespace {

// Where a node stands (jinja2.compiler.Frame).
struct Frame {
  Symbols* symbols = nullptr;
  FunctionScope* function = nullptr;
  bool top_level = false;  // the template's own frame, conditions included
  bool soft = false;       // directly in a condition: an unknown filter matters only when it runs
  bool in_loop = false;    // break and continue have a loop of the same function to act on
};

[[noreturn]] void error(std::uint32_t line, const std::string& message) {
  fail(ErrorCode::kInvalidData, "line {}: {}", line, message);
}

class Resolver {
 public:
  void run(TemplateTree& tree) {
    collect_blocks(tree.body);
    Frame frame;
    frame.function = new_function(nullptr);
    frame.symbols = new_symbols(nullptr, frame.function);
    frame.top_level = true;
    reject_self(tree.body);
    frame.symbols->analyze(tree.body);
    body(tree.body, frame);
    tree.loads = loads(frame);
    tree.slots = size(frame);
  }

 private:
  FunctionScope* new_function(FunctionScope* parent) {
    functions_.push_back({parent, {}, 0});
    return &functions_.back();
  }

  Symbols* new_symbols(const Symbols* parent, FunctionScope* function) {
    symbols_.emplace_back(parent, function);
    return &symbols_.back();
  }

  Frame inner(const Frame& frame) { return inner(frame, frame.function); }

  Frame inner(const Frame& frame, FunctionScope* function) {
    Frame out;
    out.function = function;
    out.symbols = new_symbols(frame.symbols, function);
    out.in_loop = function == frame.function && frame.in_loop;
    return out;
  }

  static Frame soften(Frame frame) {
    frame.soft = true;
    return frame;
  }

  static Slot slot_of(const Frame& frame, const Symbols::Variable& variable) {
    Slot slot;
    for (const FunctionScope* function = frame.function; function != variable.function;
         function = function->parent) {
      ++slot.hops;
    }
    slot.index = variable.function->slot(variable.id);
    return slot;
  }

  static Slot find(const Frame& frame, const std::string& name, std::uint32_t line) {
    const Symbols::Variable* variable = frame.symbols->find(name);
    if (variable == nullptr) error(line, "'" + printable(name) + "' cannot be used here");
    return slot_of(frame, *variable);
  }

  static FrameLoads loads(const Frame& frame) {
    FrameLoads out;
    for (const auto& [id, load] : frame.symbols->loads()) {
      FrameLoads::Load entry{frame.function->slot(id), load.action, {}, load.name};
      if (load.action == FrameLoads::Action::kAlias) entry.source = slot_of(frame, load.source);
      out.loads.push_back(std::move(entry));
    }
    return out;
  }

  static std::uint32_t size(const Frame& frame) {
    return static_cast<std::uint32_t>(frame.function->slots.size());
  }

  void collect_blocks(Body& nodes) {
    for (auto& node : nodes) collect_blocks(*node);
  }

  void collect_blocks(Stmt& node) {
    if (node.kind == StmtKind::kBlock) {
      const auto& block = static_cast<BlockStmt&>(node);
      if (!blocks_.insert(block.name).second) {
        error(node.line, "block '" + printable(block.name) + "' defined twice");
      }
    }
    walk(
        node, [](Expr&) {}, [this](Stmt& child) { collect_blocks(child); });
  }

  static bool holds_scoped_block(Stmt& node) {
    bool found = node.kind == StmtKind::kBlock && static_cast<BlockStmt&>(node).scoped;
    walk(
        node, [](Expr&) {}, [&](Stmt& child) { found = found || holds_scoped_block(child); });
    return found;
  }

  // Jinja gives the names self and super to the machinery of blocks.
  static void reject_self(Body& nodes) {
    for (const auto& name : find_undeclared(nodes, {"self"})) {
      fail(ErrorCode::kUnsupported, "the variable {} of blocks", name);
    }
  }

  static void reject_stored_loop(Expr& node) {
    if (node.kind == ExprKind::kName) {
      const auto& name = static_cast<NameExpr&>(node);
      if (name.context == NameExpr::Context::kStore && name.name == "loop") {
        error(node.line, "Can't assign to special loop variable in for-loop target");
      }
    }
    walk(node, [](Expr& child) { reject_stored_loop(child); });
  }

  static void reject_stored_loop(Stmt& node) {
    walk(
        node, [](Expr& child) { reject_stored_loop(child); },
        [](Stmt& child) { reject_stored_loop(child); });
  }

  // Expressions.

  void expr(Expr& node, const Frame& frame) {
    switch (node.kind) {
      case ExprKind::kName: {
        auto& name = static_cast<NameExpr&>(node);
        name.slot = find(frame, name.name, node.line);
        return;
      }
      case ExprKind::kNamespaceRef: {
        auto& ref = static_cast<NamespaceRefExpr&>(node);
        ref.slot = find(frame, ref.name, node.line);
        return;
      }
      case ExprKind::kFilter: {
        auto& filter = static_cast<FilterExpr&>(node);
        filter.info = find_filter(filter.name);
        if (filter.info == nullptr && !frame.soft) {
          error(node.line, "No filter named '" + printable(filter.name) + "'.");
        }
        break;
      }
      case ExprKind::kTest: {
        auto& test = static_cast<TestExpr&>(node);
        test.info = find_test(test.name);
        if (test.info == nullptr && !frame.soft) {
          error(node.line, "No test named '" + printable(test.name) + "'.");
        }
        break;
      }
      case ExprKind::kCondition: {
        const Frame softened = soften(frame);
        walk(node, [&](Expr& child) { expr(child, softened); });
        return;
      }
      default:
        break;
    }
    walk(node, [&](Expr& child) { expr(child, frame); });
  }

  // Statements.

  void body(Body& nodes, const Frame& frame) {
    for (auto& node : nodes) stmt(*node, frame);
  }

  void stmt(Stmt& node, const Frame& frame) {
    switch (node.kind) {
      case StmtKind::kOutput:
        for (auto& child : static_cast<OutputStmt&>(node).nodes) expr(*child, frame);
        return;
      case StmtKind::kFor:
        return for_loop(static_cast<ForStmt&>(node), frame);
      case StmtKind::kIf:
        return if_chain(static_cast<IfStmt&>(node), soften(frame));
      case StmtKind::kMacro: {
        auto& macro = static_cast<MacroStmt&>(node);
        function(macro.function, frame, node.line);
        macro.slot = find(frame, macro.function.name, node.line);
        macro.exported = frame.top_level && !blocks_.empty();
        return;
      }
      case StmtKind::kCallBlock: {
        auto& block = static_cast<CallBlockStmt&>(node);
        function(block.function, frame, node.line);
        if (block.call != nullptr) expr(*block.call, frame);
        return;
      }
      case StmtKind::kFilterBlock: {
        auto& block = static_cast<FilterBlockStmt&>(node);
        Frame within = inner(frame);
        within.symbols->analyze(block.body);
        within.symbols->analyze(*block.filter);
        body(block.body, within);
        expr(*block.filter, within);
        block.loads = loads(within);
        return;
      }
      case StmtKind::kWith:
        return with(static_cast<WithStmt&>(node), frame);
      case StmtKind::kBlock:
        return block(static_cast<BlockStmt&>(node), frame);
      case StmtKind::kLoader: {
        auto& loader = static_cast<LoaderStmt&>(node);
        if (loader.tag == "extends" && !frame.top_level) {
          error(node.line, "cannot use extend from a non top-level scope");
        }
        return expr(*loader.source, frame);
      }
      case StmtKind::kAssign: {
        auto& assign = static_cast<AssignStmt&>(node);
        expr(*assign.value, frame);
        expr(*assign.target, frame);
        assign.exports = exports(*assign.target, frame);
        return;
      }
      case StmtKind::kAssignBlock: {
        auto& assign = static_cast<AssignBlockStmt&>(node);
        Frame within = inner(frame);
        within.symbols->analyze(assign.body);
        body(assign.body, within);
        expr(*assign.target, frame);
        if (assign.filter != nullptr) expr(*assign.filter, within);
        assign.loads = loads(within);
        assign.exports = exports(*assign.target, frame);
        return;
      }
      case StmtKind::kBreak:
      case StmtKind::kContinue:
        if (!frame.in_loop) error(node.line, "break or continue outside a loop");
        return;
    }
  }

  void if_chain(IfStmt& node, const Frame& frame) {
    for (auto& branch : node.branches) {
      expr(*branch.test, frame);
      body(branch.body, frame);
    }
    body(node.otherwise, frame);
  }

  void for_loop(ForStmt& node, const Frame& frame) {
    FunctionScope* function = node.recursive ? new_function(frame.function) : frame.function;
    Frame within = inner(frame, function);
    Frame otherwise = inner(frame, function);
    otherwise.in_loop = !node.recursive && frame.in_loop;
    within.in_loop = true;
    node.has_loop =
        node.recursive || !find_undeclared(node.body, {"loop"}).empty() || holds_scoped_block(node);
    if (node.has_loop) within.symbols->declare_parameter("loop");
    within.symbols->analyze(*node.target, true);
    within.symbols->analyze(node.body);
    otherwise.symbols->analyze(node.otherwise);
    if (node.test != nullptr) for_test(node, frame);
    reject_stored_loop(node);
    expr(*node.iterable, frame);
    expr(*node.target, within);
    if (node.has_loop) node.loop_slot = find(within, "loop", node.line);
    body(node.body, within);
    node.body_loads = loads(within);
    body(node.otherwise, otherwise);
    node.otherwise_loads = loads(otherwise);
    if (node.recursive) node.recursive_slots = size(within);
  }

  void for_test(ForStmt& node, const Frame& frame) {
    Frame test = inner(frame, new_function(frame.function));
    test.symbols->analyze(*node.test_target, true);
    test.symbols->analyze(*node.test);
    expr(*node.test_target, test);
    expr(*node.test, test);
    node.test_loads = loads(test);
    node.test_slots = size(test);
  }

  void function(MacroFunction& macro, const Frame& frame, std::uint32_t line) {
    Frame within = inner(frame, new_function(frame.function));
    for (auto& parameter : macro.parameters) within.symbols->analyze(*parameter);
    for (auto& value : macro.defaults) within.symbols->analyze(*value);
    within.symbols->analyze(macro.body);
    special_parameters(macro, within, line);
    for (auto& parameter : macro.parameters) expr(*parameter, within);
    for (auto& value : macro.defaults) expr(*value, within);
    body(macro.body, within);
    macro.loads = loads(within);
    macro.slots = size(within);
  }

  // caller, kwargs and varargs, where the body uses them.
  void special_parameters(MacroFunction& macro, const Frame& within, std::uint32_t line) {
    const auto used = find_undeclared(macro.body, {"caller", "kwargs", "varargs"});
    std::set<std::string> named;
    for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
      const std::string& name = macro.parameters[i]->name;
      named.insert(name);
      if (name != "caller") continue;
      macro.explicit_caller = true;
      if (used.contains("caller") && macro.parameters.size() - i > macro.defaults.size()) {
        error(line, "the special 'caller' argument must be omitted or be given a default");
      }
    }
    const auto declare = [&](const std::string& name, std::uint32_t& slot) {
      within.symbols->declare_parameter(name);
      slot = find(within, name, line).index;
    };
    if (used.contains("caller")) {
      macro.uses_caller = true;
      if (!macro.explicit_caller) declare("caller", macro.caller_slot);
    }
    if (used.contains("kwargs") && !named.contains("kwargs")) {
      macro.uses_keywords = true;
      declare("kwargs", macro.keywords_slot);
    }
    if (used.contains("varargs") && !named.contains("varargs")) {
      macro.uses_positional = true;
      declare("varargs", macro.positional_slot);
    }
  }

  void with(WithStmt& node, const Frame& frame) {
    Frame within = inner(frame);
    for (auto& target : node.targets) within.symbols->analyze(*target, true);
    within.symbols->analyze(node.body);
    for (auto& value : node.values) expr(*value, frame);
    for (auto& target : node.targets) expr(*target, within);
    body(node.body, within);
    node.loads = loads(within);
  }

  void block(BlockStmt& node, const Frame& frame) {
    Frame within;
    within.function = new_function(nullptr);
    within.symbols = new_symbols(nullptr, within.function);
    if (!find_undeclared(node.body, {"self", "super"}).empty()) {
      fail(ErrorCode::kUnsupported, "line {}: the variables self and super of blocks", node.line);
    }
    within.symbols->analyze(node.body);
    body(node.body, within);
    node.loads = loads(within);
    node.slots = size(within);
    if (!node.scoped) return;
    std::set<std::string> seen;
    for (const Symbols* symbols = frame.symbols; symbols != nullptr; symbols = symbols->parent()) {
      for (const auto& name : symbols->stores()) {
        if (seen.insert(name).second) node.visible.emplace_back(name, find(frame, name, node.line));
      }
    }
  }

  // The names that an assignment at the top sets, for blocks, which see the template's variables by
  // name.
  std::vector<std::pair<std::string, Slot>> exports(Expr& target, const Frame& frame) {
    std::vector<std::pair<std::string, Slot>> out;
    if (!frame.top_level || blocks_.empty()) return out;
    if (target.kind == ExprKind::kName) {
      const auto& name = static_cast<NameExpr&>(target);
      out.emplace_back(name.name, name.slot);
    }
    walk(target, [&](Expr& child) {
      for (auto& entry : exports(child, frame)) out.push_back(std::move(entry));
    });
    return out;
  }

  std::deque<FunctionScope> functions_;
  std::deque<Symbols> symbols_;
  std::set<std::string> blocks_;
};

}  // namespace

void resolve_scopes(TemplateTree& tree) { Resolver().run(tree); }

}  // namespace sampan::jinja
