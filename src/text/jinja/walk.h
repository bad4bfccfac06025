#pragma once

#include "text/jinja/ast.h"

namespace sampan::jinja {

// Calls on_expr for every direct child of a node that is an expression and on_stmt for every one
// that is a statement, in the order of Jinja's node fields, on which its scope analysis depends.
template <class OnExpr>
void walk_arguments(Arguments& arguments, OnExpr&& on_expr) {
  for (auto& argument : arguments.positional) on_expr(*argument);
  for (auto& [name, argument] : arguments.keywords) on_expr(*argument);
  if (arguments.more_positional != nullptr) on_expr(*arguments.more_positional);
  if (arguments.more_keywords != nullptr) on_expr(*arguments.more_keywords);
}

template <class OnExpr>
void walk(Expr& node, OnExpr&& on_expr) {
  const auto each = [&](auto&... children) {
    ((children != nullptr ? on_expr(*children) : void()), ...);
  };
  const auto all = [&](auto& children) {
    for (auto& child : children) on_expr(*child);
  };
  switch (node.kind) {
    case ExprKind::kConst:
    case ExprKind::kData:
    case ExprKind::kName:
    case ExprKind::kNamespaceRef:
      return;
    case ExprKind::kList:
      return all(static_cast<ListExpr&>(node).items);
    case ExprKind::kTuple:
      return all(static_cast<TupleExpr&>(node).items);
    case ExprKind::kDict:
      for (auto& [key, value] : static_cast<DictExpr&>(node).items) each(key, value);
      return;
    case ExprKind::kGetattr:
      return each(static_cast<GetattrExpr&>(node).node);
    case ExprKind::kGetitem: {
      auto& item = static_cast<GetitemExpr&>(node);
      return each(item.node, item.argument);
    }
    case ExprKind::kSlice: {
      auto& slice = static_cast<SliceExpr&>(node);
      return each(slice.start, slice.stop, slice.step);
    }
    case ExprKind::kCall: {
      auto& call = static_cast<CallExpr&>(node);
      each(call.node);
      return walk_arguments(call.arguments, on_expr);
    }
    case ExprKind::kFilter: {
      auto& filter = static_cast<FilterExpr&>(node);
      each(filter.node);
      return walk_arguments(filter.arguments, on_expr);
    }
    case ExprKind::kTest: {
      auto& test = static_cast<TestExpr&>(node);
      each(test.node);
      return walk_arguments(test.arguments, on_expr);
    }
    case ExprKind::kUnary:
      return each(static_cast<UnaryExpr&>(node).node);
    case ExprKind::kBinary: {
      auto& pair = static_cast<BinaryExpr&>(node);
      return each(pair.left, pair.right);
    }
    case ExprKind::kAnd: {
      auto& pair = static_cast<AndExpr&>(node);
      return each(pair.left, pair.right);
    }
    case ExprKind::kOr: {
      auto& pair = static_cast<OrExpr&>(node);
      return each(pair.left, pair.right);
    }
    case ExprKind::kConcat:
      return all(static_cast<ConcatExpr&>(node).nodes);
    case ExprKind::kCompare: {
      auto& compare = static_cast<CompareExpr&>(node);
      each(compare.first);
      for (auto& [op, operand] : compare.rest) on_expr(*operand);
      return;
    }
    case ExprKind::kCondition: {
      auto& condition = static_cast<ConditionExpr&>(node);
      return each(condition.test, condition.value, condition.otherwise);
    }
  }
}

template <class OnExpr, class OnStmt>
void walk_function(MacroFunction& function, OnExpr&& on_expr, OnStmt&& on_stmt) {
  for (auto& parameter : function.parameters) on_expr(*parameter);
  for (auto& value : function.defaults) on_expr(*value);
  for (auto& child : function.body) on_stmt(*child);
}

template <class OnExpr, class OnStmt>
void walk(Stmt& node, OnExpr&& on_expr, OnStmt&& on_stmt) {
  const auto all = [&](Body& body) {
    for (auto& child : body) on_stmt(*child);
  };
  switch (node.kind) {
    case StmtKind::kOutput:
      for (auto& child : static_cast<OutputStmt&>(node).nodes) on_expr(*child);
      return;
    case StmtKind::kFor: {
      auto& loop = static_cast<ForStmt&>(node);
      on_expr(*loop.target);
      on_expr(*loop.iterable);
      all(loop.body);
      all(loop.otherwise);
      if (loop.test != nullptr) on_expr(*loop.test);
      return;
    }
    case StmtKind::kIf: {
      auto& condition = static_cast<IfStmt&>(node);
      for (auto& branch : condition.branches) {
        on_expr(*branch.test);
        all(branch.body);
      }
      return all(condition.otherwise);
    }
    case StmtKind::kMacro:
      return walk_function(static_cast<MacroStmt&>(node).function, on_expr, on_stmt);
    case StmtKind::kCallBlock: {
      auto& block = static_cast<CallBlockStmt&>(node);
      if (block.call != nullptr) on_expr(*block.call);
      return walk_function(block.function, on_expr, on_stmt);
    }
    case StmtKind::kFilterBlock: {
      auto& block = static_cast<FilterBlockStmt&>(node);
      all(block.body);
      return on_expr(*block.filter);
    }
    case StmtKind::kWith: {
      auto& with = static_cast<WithStmt&>(node);
      for (auto& target : with.targets) on_expr(*target);
      for (auto& value : with.values) on_expr(*value);
      return all(with.body);
    }
    case StmtKind::kBlock:
      return all(static_cast<BlockStmt&>(node).body);
    case StmtKind::kLoader:
      return on_expr(*static_cast<LoaderStmt&>(node).source);
    case StmtKind::kAssign: {
      auto& assign = static_cast<AssignStmt&>(node);
      on_expr(*assign.target);
      return on_expr(*assign.value);
    }
    case StmtKind::kAssignBlock: {
      auto& assign = static_cast<AssignBlockStmt&>(node);
      on_expr(*assign.target);
      if (assign.filter != nullptr) on_expr(*assign.filter);
      return all(assign.body);
    }
    case StmtKind::kBreak:
    case StmtKind::kContinue:
      return;
  }
}

}  // namespace sampan::jinja
