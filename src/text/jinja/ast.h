#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

// The tree of a template. The parser makes it; the scope pass (scope.h) then fills in where each
// variable lives, which the members marked "scope" hold. Immutable and shared by all renderings
// from then on.
namespace sampan::jinja {

struct FilterInfo;
struct TestInfo;

// A variable's place: a function's slot, as many functions outwards as `hops` says.
struct Slot {
  std::uint32_t hops = 0;
  std::uint32_t index = 0;
};

// What entering a frame does to the variables that it introduces; leaving it empties them.
struct FrameLoads {
  enum class Action : std::uint8_t {
    kParameter,  // set by whoever enters
    kResolve,    // looked up in the rendering's variables
    kAlias,      // starts as an outer variable's value
    kUndefined,
  };
  struct Load {
    std::uint32_t index;
    Action action;
    Slot source;       // kAlias
    std::string name;  // kResolve
  };
  std::vector<Load> loads;
};

enum class ExprKind : std::uint8_t {
  kConst,
  kData,
  kName,
  kNamespaceRef,
  kList,
  kTuple,
  kDict,
  kGetattr,
  kGetitem,
  kSlice,
  kCall,
  kFilter,
  kTest,
  kUnary,
  kBinary,
  kAnd,
  kOr,
  kConcat,
  kCompare,
  kCondition,
};

struct Expr {
  Expr(ExprKind what, std::uint32_t at) : kind(what), line(at) {}
  virtual ~Expr() = default;
  ExprKind kind;
  std::uint16_t depth = 1;  // of the tree below, this node included
  std::uint32_t line;
};
using ExprPtr = std::unique_ptr<Expr>;

template <ExprKind what>
struct ExprOf : Expr {
  explicit ExprOf(std::uint32_t at) : Expr(what, at) {}
};

struct ConstExpr : ExprOf<ExprKind::kConst> {
  using ExprOf::ExprOf;
  Value value;
};

// Text of the template.
struct DataExpr : ExprOf<ExprKind::kData> {
  using ExprOf::ExprOf;
  std::string text;
};

struct NameExpr : ExprOf<ExprKind::kName> {
  using ExprOf::ExprOf;
  enum class Context : std::uint8_t { kLoad, kStore, kParameter };
  std::string name;
  Context context = Context::kLoad;
  Slot slot;  // scope
};

// ns.attribute as the target of an assignment.
struct NamespaceRefExpr : ExprOf<ExprKind::kNamespaceRef> {
  using ExprOf::ExprOf;
  std::string name;
  Value attribute;
  Slot slot;  // scope
};

struct ListExpr : ExprOf<ExprKind::kList> {
  using ExprOf::ExprOf;
  std::vector<ExprPtr> items;
};

struct TupleExpr : ExprOf<ExprKind::kTuple> {
  using ExprOf::ExprOf;
  std::vector<ExprPtr> items;
};

struct DictExpr : ExprOf<ExprKind::kDict> {
  using ExprOf::ExprOf;
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};

struct GetattrExpr : ExprOf<ExprKind::kGetattr> {
  using ExprOf::ExprOf;
  ExprPtr node;
  std::string attribute;
};

struct GetitemExpr : ExprOf<ExprKind::kGetitem> {
  using ExprOf::ExprOf;
  ExprPtr node;
  ExprPtr argument;  // a SliceExpr for x[a:b]
};

struct SliceExpr : ExprOf<ExprKind::kSlice> {
  using ExprOf::ExprOf;
  ExprPtr start, stop, step;  // each may be null
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keywords;
  ExprPtr more_positional;  // *x, may be null
  ExprPtr more_keywords;    // **x, may be null
};

struct CallExpr : ExprOf<ExprKind::kCall> {
  using ExprOf::ExprOf;
  ExprPtr node;
  Arguments arguments;
};

struct FilterExpr : ExprOf<ExprKind::kFilter> {
  using ExprOf::ExprOf;
  ExprPtr node;  // null where a block's content is filtered
  std::string name;
  Arguments arguments;
  const FilterInfo* info = nullptr;  // scope; null for an unknown filter that may never run
};

struct TestExpr : ExprOf<ExprKind::kTest> {
  using ExprOf::ExprOf;
  ExprPtr node;
  std::string name;
  Arguments arguments;
  const TestInfo* info = nullptr;  // scope; as for filters
};

enum class UnaryOp : std::uint8_t { kNot, kNegate, kPlus };

struct UnaryExpr : ExprOf<ExprKind::kUnary> {
  using ExprOf::ExprOf;
  UnaryOp op = UnaryOp::kNot;
  ExprPtr node;
};

enum class BinaryOp : std::uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };

struct BinaryExpr : ExprOf<ExprKind::kBinary> {
  using ExprOf::ExprOf;
  BinaryOp op = BinaryOp::kAdd;
  ExprPtr left, right;
};

struct AndExpr : ExprOf<ExprKind::kAnd> {
  using ExprOf::ExprOf;
  ExprPtr left, right;
};

struct OrExpr : ExprOf<ExprKind::kOr> {
  using ExprOf::ExprOf;
  ExprPtr left, right;
};

struct ConcatExpr : ExprOf<ExprKind::kConcat> {
  using ExprOf::ExprOf;
  std::vector<ExprPtr> nodes;
};

enum class CompareOp : std::uint8_t { kEq, kNe, kGt, kGe, kLt, kLe, kIn, kNotIn };

struct CompareExpr : ExprOf<ExprKind::kCompare> {
  using ExprOf::ExprOf;
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};

// value if test else otherwise
struct ConditionExpr : ExprOf<ExprKind::kCondition> {
  using ExprOf::ExprOf;
  ExprPtr test, value, otherwise;  // otherwise may be null
};

enum class StmtKind : std::uint8_t {
  kOutput,
  kFor,
  kIf,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kBlock,
  kLoader,
  kAssign,
  kAssignBlock,
  kBreak,
  kContinue,
};

struct Stmt {
  Stmt(StmtKind what, std::uint32_t at) : kind(what), line(at) {}
  virtual ~Stmt() = default;
  StmtKind kind;
  std::uint32_t line;
};
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

template <StmtKind what>
struct StmtOf : Stmt {
  explicit StmtOf(std::uint32_t at) : Stmt(what, at) {}
};

struct OutputStmt : StmtOf<StmtKind::kOutput> {
  using StmtOf::StmtOf;
  std::vector<ExprPtr> nodes;
};

struct ForStmt : StmtOf<StmtKind::kFor> {
  using StmtOf::StmtOf;
  ExprPtr target;
  ExprPtr iterable;
  ExprPtr test;         // may be null
  ExprPtr test_target;  // the target once more, for the function that filters
  Body body;
  Body otherwise;
  bool recursive = false;
  // scope:
  bool has_loop = false;  // the body uses `loop`
  Slot loop_slot;
  FrameLoads body_loads;
  FrameLoads otherwise_loads;
  FrameLoads test_loads;
  std::uint32_t test_slots = 0;       // of the function that filters
  std::uint32_t recursive_slots = 0;  // of the function that a recursive loop is
};

struct IfStmt : StmtOf<StmtKind::kIf> {
  using StmtOf::StmtOf;
  struct Branch {
    std::uint32_t line;
    ExprPtr test;
    Body body;
  };
  std::vector<Branch> branches;  // if, elif, …
  Body otherwise;
};

// The function of a macro or of a call block.
struct MacroFunction {
  std::string name;  // empty for a call block
  std::vector<std::unique_ptr<NameExpr>> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Body body;
  // scope:
  FrameLoads loads;
  std::uint32_t slots = 0;
  bool explicit_caller = false;
  bool uses_caller = false;
  bool uses_keywords = false;
  bool uses_positional = false;
  std::uint32_t caller_slot = 0, keywords_slot = 0, positional_slot = 0;
};

struct MacroStmt : StmtOf<StmtKind::kMacro> {
  using StmtOf::StmtOf;
  MacroFunction function;
  Slot slot;              // scope
  bool exported = false;  // scope: visible to blocks
};

// {% call %}, and {% generation %}, whose call is null.
struct CallBlockStmt : StmtOf<StmtKind::kCallBlock> {
  using StmtOf::StmtOf;
  std::unique_ptr<CallExpr> call;
  MacroFunction function;
};

struct FilterBlockStmt : StmtOf<StmtKind::kFilterBlock> {
  using StmtOf::StmtOf;
  ExprPtr filter;  // a chain of FilterExpr whose innermost node is null
  Body body;
  FrameLoads loads;  // scope
};

struct WithStmt : StmtOf<StmtKind::kWith> {
  using StmtOf::StmtOf;
  std::vector<ExprPtr> targets;
  std::vector<ExprPtr> values;
  Body body;
  FrameLoads loads;  // scope
};

struct BlockStmt : StmtOf<StmtKind::kBlock> {
  using StmtOf::StmtOf;
  std::string name;
  bool scoped = false;
  bool required = false;
  Body body;
  // scope:
  FrameLoads loads;
  std::uint32_t slots = 0;
  std::vector<std::pair<std::string, Slot>> visible;  // what a scoped block sees of its place
};

// include, import, from, extends: no template can be loaded, so running one is an error.
struct LoaderStmt : StmtOf<StmtKind::kLoader> {
  using StmtOf::StmtOf;
  std::string tag;
  ExprPtr source;
  std::vector<std::string> stores;  // names that an import defines
};

struct AssignStmt : StmtOf<StmtKind::kAssign> {
  using StmtOf::StmtOf;
  ExprPtr target;
  ExprPtr value;
  std::vector<std::pair<std::string, Slot>> exports;  // scope: what blocks see of it
};

struct AssignBlockStmt : StmtOf<StmtKind::kAssignBlock> {
  using StmtOf::StmtOf;
  ExprPtr target;
  ExprPtr filter;  // may be null
  Body body;
  FrameLoads loads;                                   // scope
  std::vector<std::pair<std::string, Slot>> exports;  // scope
};

struct BreakStmt : StmtOf<StmtKind::kBreak> {
  using StmtOf::StmtOf;
};

struct ContinueStmt : StmtOf<StmtKind::kContinue> {
  using StmtOf::StmtOf;
};

struct TemplateTree {
  Body body;
  FrameLoads loads;         // scope: of the template's own frame
  std::uint32_t slots = 0;  // scope
};

}  // namespace sampan::jinja
