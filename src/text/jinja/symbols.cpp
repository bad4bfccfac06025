#include "text/jinja/symbols.h"

#include "base/error.h"
#include "text/jinja/walk.h"

namespace sampan::jinja {
namespace {

// Every branch of a condition is analyzed on a copy of the frame's names. More copies than this
// take no real template.
constexpr std::size_t kMaxCopiedNames = 5'000'000;

// jinja2.compiler.UndeclaredNameVisitor: walks everything, frames within too, but blocks.
class UndeclaredNames {
 public:
  explicit UndeclaredNames(std::set<std::string> names) : names_(std::move(names)) {}

  void visit(Expr& node) {
    if (node.kind == ExprKind::kName) {
      const auto& name = static_cast<NameExpr&>(node);
      if (name.context == NameExpr::Context::kLoad && names_.contains(name.name)) {
        found_.insert(name.name);
      } else {
        names_.erase(name.name);
      }
      return;
    }
    walk(node, [this](Expr& child) { visit(child); });
  }

  void visit(Stmt& node) {
    if (node.kind == StmtKind::kBlock) return;
    walk(
        node, [this](Expr& child) { visit(child); }, [this](Stmt& child) { visit(child); });
  }

  std::set<std::string> take() { return std::move(found_); }

 private:
  std::set<std::string> names_;
  std::set<std::string> found_;
};

}  // namespace

std::uint32_t FunctionScope::slot(const std::string& variable) {
  return slots.emplace(variable, static_cast<std::uint32_t>(slots.size())).first->second;
}

Symbols::Symbols(const Symbols* parent, FunctionScope* function)
    : parent_(parent), function_(function), level_(parent == nullptr ? 0 : parent->level_ + 1) {}

const Symbols::Variable* Symbols::find(const std::string& name) const {
  for (const Symbols* symbols = this; symbols != nullptr; symbols = symbols->parent_) {
    const auto at = symbols->names_.find(name);
    if (at != symbols->names_.end()) return &at->second;
  }
  return nullptr;
}

namespace {

Symbols::Load load_from(FrameLoads::Action action, const std::string& name = std::string()) {
  Symbols::Load load;
  load.action = action;
  load.name = name;
  return load;
}

Symbols::Load alias_of(const Symbols::Variable& source) {
  Symbols::Load load = load_from(FrameLoads::Action::kAlias);
  load.source = source;
  return load;
}

}  // namespace

Symbols::Variable Symbols::define(const std::string& name, Load load) {
  Variable variable{std::to_string(level_) + ":" + name, function_};
  names_[name] = variable;
  loads_[variable.id] = std::move(load);
  return variable;
}

void Symbols::load(const std::string& name) {
  if (find(name) == nullptr) define(name, load_from(FrameLoads::Action::kResolve, name));
}

void Symbols::store(const std::string& name) {
  stores_.insert(name);
  if (names_.contains(name)) return;
  const Variable* outer = parent_ == nullptr ? nullptr : parent_->find(name);
  if (outer != nullptr) {
    define(name, alias_of(*outer));
  } else {
    define(name, load_from(FrameLoads::Action::kUndefined));
  }
}

void Symbols::declare_parameter(const std::string& name) {
  stores_.insert(name);
  define(name, load_from(FrameLoads::Action::kParameter));
}

void Symbols::analyze(Expr& node, bool as_parameter) {
  if (node.kind == ExprKind::kName) {
    const auto& name = static_cast<NameExpr&>(node);
    if (as_parameter || name.context == NameExpr::Context::kParameter) {
      declare_parameter(name.name);
    } else if (name.context == NameExpr::Context::kStore) {
      store(name.name);
    } else {
      load(name.name);
    }
  } else if (node.kind == ExprKind::kNamespaceRef) {
    load(static_cast<NamespaceRefExpr&>(node).name);
  } else {
    walk(node, [&](Expr& child) { analyze(child, as_parameter); });
  }
}

void Symbols::analyze(Body& body) {
  for (auto& node : body) analyze(*node);
}

void Symbols::analyze(Stmt& node) {
  switch (node.kind) {
    case StmtKind::kOutput:
      for (auto& child : static_cast<OutputStmt&>(node).nodes) analyze(*child);
      return;
    case StmtKind::kFor:
      return analyze(*static_cast<ForStmt&>(node).iterable);
    case StmtKind::kIf:
      return analyze_if(static_cast<IfStmt&>(node));
    case StmtKind::kMacro:
      return store(static_cast<MacroStmt&>(node).function.name);
    case StmtKind::kCallBlock: {
      auto& block = static_cast<CallBlockStmt&>(node);
      if (block.call != nullptr) analyze(*block.call);
      return;
    }
    case StmtKind::kFilterBlock:
      return analyze(*static_cast<FilterBlockStmt&>(node).filter);
    case StmtKind::kWith:
      for (auto& value : static_cast<WithStmt&>(node).values) analyze(*value);
      return;
    case StmtKind::kLoader: {
      auto& loader = static_cast<LoaderStmt&>(node);
      analyze(*loader.source);
      for (const auto& name : loader.stores) store(name);
      return;
    }
    case StmtKind::kAssign: {
      auto& assign = static_cast<AssignStmt&>(node);
      analyze(*assign.value);
      return analyze(*assign.target);
    }
    case StmtKind::kAssignBlock:
      return analyze(*static_cast<AssignBlockStmt&>(node).target);
    case StmtKind::kBlock:
    case StmtKind::kBreak:
    case StmtKind::kContinue:
      return;
  }
}

// Each branch is analyzed on its own; a name that only some of them set starts as what it is
// outside.
void Symbols::analyze_if(IfStmt& node) {
  count_copies(node.branches.size() * 3);
  analyze(*node.branches[0].test);
  Symbols first = *this;
  first.analyze(node.branches[0].body);
  Symbols others = *this;
  for (std::size_t i = 1; i < node.branches.size(); ++i) {
    others.analyze(*node.branches[i].test);
    Symbols branch = others;
    branch.analyze(node.branches[i].body);
    others.merge_branches({branch, others, others});
  }
  Symbols last = *this;
  last.analyze(node.otherwise);
  merge_branches({first, others, last});
}

void Symbols::count_copies(std::size_t copies) const {
  function_->copied_names += copies * (names_.size() + 1);
  if (function_->copied_names > kMaxCopiedNames) {
    fail(ErrorCode::kLimit, "too many names in too many conditions");
  }
}

void Symbols::merge_branches(const std::vector<Symbols>& branches) {
  std::set<std::string> fresh;
  for (const Symbols& branch : branches) fresh.insert(branch.stores_.begin(), branch.stores_.end());
  for (const auto& name : stores_) fresh.erase(name);
  for (const Symbols& branch : branches) {
    for (const auto& [name, variable] : branch.names_) names_[name] = variable;
    for (const auto& [id, load] : branch.loads_) loads_[id] = load;
    stores_.insert(branch.stores_.begin(), branch.stores_.end());
  }
  for (const auto& name : fresh) {
    const std::string& id = find(name)->id;
    const Variable* outer = parent_ == nullptr ? nullptr : parent_->find(name);
    if (outer != nullptr) {
      loads_[id] = alias_of(*outer);
    } else {
      loads_[id] = load_from(FrameLoads::Action::kResolve, name);
    }
  }
}

std::set<std::string> find_undeclared(Body& body, std::set<std::string> names) {
  UndeclaredNames visitor(std::move(names));
  for (auto& node : body) visitor.visit(*node);
  return visitor.take();
}

}  // namespace sampan::jinja
