#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "text/jinja/ast.h"

namespace sampan::jinja {

// The variables of one function at run time: the template itself, a macro, a loop's filter.
struct FunctionScope {
  FunctionScope* parent = nullptr;
  std::map<std::string, std::uint32_t> slots;
  std::size_t copied_names = 0;  // by the analysis of this function's conditions

  std::uint32_t slot(const std::string& variable);
};

// The names that one frame knows, and where it gets them from (jinja2.idtracking.Symbols).
class Symbols {
 public:
  struct Variable {
    std::string id;  // unique by frame level and name
    FunctionScope* function = nullptr;
  };
  struct Load {
    FrameLoads::Action action = FrameLoads::Action::kUndefined;
    Variable source;   // kAlias
    std::string name;  // kResolve
  };

  Symbols(const Symbols* parent, FunctionScope* function);

  const Variable* find(const std::string& name) const;
  const std::map<std::string, Load>& loads() const { return loads_; }
  const std::set<std::string>& stores() const { return stores_; }
  const Symbols* parent() const { return parent_; }

  void load(const std::string& name);
  void store(const std::string& name);
  void declare_parameter(const std::string& name);

  // Notes what the nodes of a frame's own level load and store; frames within are left to
  // themselves.
  void analyze(Expr& node, bool as_parameter = false);
  void analyze(Body& body);

 private:
  Variable define(const std::string& name, Load load);
  void analyze(Stmt& node);
  void analyze_if(IfStmt& node);
  void merge_branches(const std::vector<Symbols>& branches);
  void count_copies(std::size_t copies) const;

  const Symbols* parent_;
  FunctionScope* function_;
  int level_;
  std::map<std::string, Variable> names_;
  std::map<std::string, Load> loads_;  // by variable id
  std::set<std::string> stores_;
};

// Which of `names` the statements read before setting them.
std::set<std::string> find_undeclared(Body& body, std::set<std::string> names);

}  // namespace sampan::jinja
