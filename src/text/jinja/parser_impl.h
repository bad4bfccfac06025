#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace sampan::jinja {

// The recursive-descent parser; expressions in parser_expr.cpp, statements in parser.cpp. Mirrors
// the grammar of Jinja's own parser production by production, because templates depend on its
// corners (what binds to what after `is`, where a tuple needs no parentheses).
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body parse_body();

 private:
  // Names that end a body, such as {"elif", "else", "endif"}; empty at the top.
  using EndNames = std::initializer_list<std::string_view>;

  class Nesting;

  // Tokens.
  const Token& current() const { return tokens_[position_]; }
  const Token& look() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  const Token& advance();
  bool at(TokenType type) const { return current().type == type; }
  bool at_name(std::string_view name) const {
    return at(TokenType::kName) && current().value == name;
  }
  bool skip(TokenType type);
  bool skip_name(std::string_view name);
  Token expect(TokenType type);
  Token expect_name();
  void expect_name(std::string_view name);
  [[noreturn]] void error(const std::string& message) const;
  [[noreturn]] void error(const std::string& message, std::uint32_t line) const;

  // Statements.
  Body parse_until(EndNames ends);
  Body parse_statements(EndNames ends, bool drop_end);
  void parse_statement(Body& body);
  StmtPtr parse_for();
  StmtPtr parse_if();
  StmtPtr parse_set();
  StmtPtr parse_with();
  StmtPtr parse_block();
  StmtPtr parse_loader();
  StmtPtr parse_print();
  StmtPtr parse_macro();
  StmtPtr parse_call_block();
  StmtPtr parse_generation();
  StmtPtr parse_filter_block();
  void parse_import_names(LoaderStmt& loader);
  bool parse_import_context();
  void parse_signature(MacroFunction& function);
  [[noreturn]] void unknown_tag(const Token& tag, EndNames ends) const;

  // Expressions.
  struct TupleRules {
    bool simplified = false;      // names and literals only
    bool with_condition = true;   // a if b else c
    bool in_parentheses = false;  // () is a tuple
    bool with_namespace = false;  // ns.attribute is a target
    const char* end_name = nullptr;
  };
  ExprPtr parse_tuple(const TupleRules& rules);
  bool at_tuple_end(const TupleRules& rules) const;
  ExprPtr parse_target(const TupleRules& rules);
  std::unique_ptr<NameExpr> parse_target_name();
  ExprPtr parse_expression(bool with_condition = true);
  ExprPtr parse_condition();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters = true);
  ExprPtr parse_primary(bool with_namespace = false);
  ExprPtr parse_name(bool with_namespace);
  ExprPtr parse_string();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_filters_and_tests(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_subscribed();
  Arguments parse_arguments();
  ExprPtr parse_call(ExprPtr node);
  ExprPtr parse_filter(ExprPtr node, bool at_name = false);
  ExprPtr parse_test(ExprPtr node);
  std::string parse_dotted_name();
  ExprPtr binary(BinaryOp op, ExprPtr left, ExprPtr right, std::uint32_t line);
  // States that `child` hangs below `parent`. Throws Error kLimit beyond kMaxExpressionDepth.
  void hang(Expr& parent, const ExprPtr& child);
  void hang(Expr& parent, const Arguments& arguments);

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

// Counts how deep the parser has descended. Throws Error kLimit beyond kMaxParseDepth.
class Parser::Nesting {
 public:
  explicit Nesting(Parser& parser);
  ~Nesting() { --parser_.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Parser& parser_;
};

}  // namespace sampan::jinja
