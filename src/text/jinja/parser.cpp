#include "text/jinja/parser.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/parser_impl.h"
#include "text/jinja/scope.h"

namespace sampan::jinja {

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ > kMaxParseDepth) {
    fail(ErrorCode::kLimit, "line {}: nested more than {} deep", parser_.current().line,
         kMaxParseDepth);
  }
}

const Token& Parser::advance() {
  const Token& token = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool Parser::skip(TokenType type) {
  if (!at(type)) return false;
  advance();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  advance();
  return true;
}

Token Parser::expect(TokenType type) {
  if (!at(type)) {
    const Token wanted{type, 0, ""};
    const std::string name = describe(wanted);
    error("unexpected '" + describe(current()) + "'" +
          (name.empty() ? "" : ", expected '" + name + "'"));
  }
  return advance();
}

Token Parser::expect_name() {
  if (!at(TokenType::kName)) error("expected a name, got '" + describe(current()) + "'");
  return advance();
}

void Parser::expect_name(std::string_view name) {
  if (!at_name(name)) {
    error("expected '" + std::string(name) + "', got '" + describe(current()) + "'");
  }
  advance();
}

void Parser::error(const std::string& message) const { error(message, current().line); }

void Parser::error(const std::string& message, std::uint32_t line) const {
  fail(ErrorCode::kInvalidData, "line {}: {}", line, message);
}

void Parser::unknown_tag(const Token& tag, EndNames ends) const {
  std::string wanted;
  for (const auto end : ends) wanted += (wanted.empty() ? "" : ", ") + std::string(end);
  error("Encountered unknown tag '" + describe(tag) + "'." +
            (wanted.empty() ? "" : " Looking for: " + wanted),
        tag.line);
}

Body Parser::parse_body() { return parse_until({}); }

// Everything up to a tag named in `ends`, at whose name the position then is; at the top, up to the
// template's end.
Body Parser::parse_until(EndNames ends) {
  const Nesting nesting(*this);
  Body body;
  std::unique_ptr<OutputStmt> output;
  const auto add_output = [&](ExprPtr node) {
    if (output == nullptr) output = std::make_unique<OutputStmt>(node->line);
    output->nodes.push_back(std::move(node));
  };
  const auto flush = [&] {
    if (output != nullptr) body.push_back(std::move(output));
  };
  while (!at(TokenType::kEnd)) {
    if (at(TokenType::kData)) {
      auto data = std::make_unique<DataExpr>(current().line);
      data->text = advance().value;
      add_output(std::move(data));
    } else if (skip(TokenType::kVariableBegin)) {
      add_output(parse_tuple({}));
      expect(TokenType::kVariableEnd);
    } else {
      expect(TokenType::kBlockBegin);
      flush();
      if (at(TokenType::kName) &&
          std::find(ends.begin(), ends.end(), current().value) != ends.end()) {
        return body;
      }
      if (!at(TokenType::kName)) error("tag name expected");
      const Token tag = current();
      const std::size_t before = body.size();
      parse_statement(body);
      if (body.size() == before) unknown_tag(tag, ends);
      expect(TokenType::kBlockEnd);
    }
  }
  if (ends.size() > 0) {
    std::string wanted;
    for (const auto end : ends) wanted += (wanted.empty() ? "'" : " or '") + std::string(end) + "'";
    error("Unexpected end of template. Looking for " + wanted);
  }
  flush();
  return body;
}

// The body that follows a tag's opening, up to one of the names; with drop_end that name is taken
// too.
Body Parser::parse_statements(EndNames ends, bool drop_end) {
  skip(TokenType::kColon);
  expect(TokenType::kBlockEnd);
  Body body = parse_until(ends);
  if (drop_end) advance();
  return body;
}

// Adds nothing for a tag that it doesn't know.
void Parser::parse_statement(Body& body) {
  const std::string& tag = current().value;
  StmtPtr statement;
  if (tag == "for") {
    statement = parse_for();
  } else if (tag == "if") {
    statement = parse_if();
  } else if (tag == "set") {
    statement = parse_set();
  } else if (tag == "macro") {
    statement = parse_macro();
  } else if (tag == "call") {
    statement = parse_call_block();
  } else if (tag == "generation") {
    statement = parse_generation();
  } else if (tag == "filter") {
    statement = parse_filter_block();
  } else if (tag == "with") {
    statement = parse_with();
  } else if (tag == "print") {
    statement = parse_print();
  } else if (tag == "block") {
    statement = parse_block();
  } else if (tag == "break") {
    statement = std::make_unique<BreakStmt>(advance().line);
  } else if (tag == "continue") {
    statement = std::make_unique<ContinueStmt>(advance().line);
  } else if (tag == "extends" || tag == "include" || tag == "import" || tag == "from") {
    statement = parse_loader();
  } else if (tag == "autoescape") {
    fail(ErrorCode::kUnsupported, "line {}: the tag autoescape", current().line);
  } else {
    return;
  }
  body.push_back(std::move(statement));
}

StmtPtr Parser::parse_for() {
  auto node = std::make_unique<ForStmt>(advance().line);
  const std::size_t target_at = position_;
  const TupleRules target_rules{.simplified = true, .end_name = "in"};
  node->target = parse_target(target_rules);
  expect_name("in");
  node->iterable = parse_tuple({.with_condition = false, .end_name = "recursive"});
  if (skip_name("if")) {
    node->test = parse_expression();
    const std::size_t resume = position_;
    position_ = target_at;
    node->test_target = parse_target(target_rules);
    position_ = resume;
  }
  node->recursive = skip_name("recursive");
  node->body = parse_statements({"endfor", "else"}, false);
  if (advance().value == "else") node->otherwise = parse_statements({"endfor"}, true);
  return node;
}

StmtPtr Parser::parse_if() {
  auto node = std::make_unique<IfStmt>(advance().line);
  while (true) {
    IfStmt::Branch branch;
    branch.line = current().line;
    branch.test = parse_tuple({.with_condition = false});
    branch.body = parse_statements({"elif", "else", "endif"}, false);
    node->branches.push_back(std::move(branch));
    const Token tag = advance();
    if (tag.value == "elif") continue;
    if (tag.value == "else") node->otherwise = parse_statements({"endif"}, true);
    return node;
  }
}

StmtPtr Parser::parse_set() {
  const std::uint32_t line = advance().line;
  ExprPtr target = parse_target({.simplified = true, .with_namespace = true});
  if (skip(TokenType::kAssign)) {
    auto node = std::make_unique<AssignStmt>(line);
    node->target = std::move(target);
    node->value = parse_tuple({});
    return node;
  }
  auto node = std::make_unique<AssignBlockStmt>(line);
  node->target = std::move(target);
  node->filter = parse_filter(nullptr);
  node->body = parse_statements({"endset"}, true);
  return node;
}

StmtPtr Parser::parse_with() {
  auto node = std::make_unique<WithStmt>(advance().line);
  while (!at(TokenType::kBlockEnd)) {
    if (!node->targets.empty()) expect(TokenType::kComma);
    node->targets.push_back(parse_target({.simplified = true}));
    expect(TokenType::kAssign);
    node->values.push_back(parse_expression());
  }
  node->body = parse_statements({"endwith"}, true);
  return node;
}

StmtPtr Parser::parse_block() {
  auto node = std::make_unique<BlockStmt>(advance().line);
  node->name = expect_name().value;
  node->scoped = skip_name("scoped");
  node->required = skip_name("required");
  node->body = parse_statements({"endblock"}, true);
  skip_name(node->name);
  return node;
}

bool Parser::parse_import_context() {
  const bool named = at_name("with") || at_name("without");
  if (!named || look().type != TokenType::kName || look().value != "context") return false;
  advance();
  advance();
  return true;
}

void Parser::parse_import_names(LoaderStmt& loader) {
  while (true) {
    if (!loader.stores.empty()) expect(TokenType::kComma);
    if (parse_import_context()) return;
    auto name = parse_target_name();
    if (name->name[0] == '_')
      error("names starting with an underline can not be imported", name->line);
    if (skip_name("as")) name = parse_target_name();
    loader.stores.push_back(name->name);
    if (parse_import_context() || !at(TokenType::kComma)) return;
  }
}

StmtPtr Parser::parse_loader() {
  const Token tag = advance();
  auto node = std::make_unique<LoaderStmt>(tag.line);
  node->tag = tag.value;
  node->source = parse_expression();
  if (tag.value == "include") {
    if (at_name("ignore") && look().type == TokenType::kName && look().value == "missing") {
      advance();
      advance();
    }
    parse_import_context();
  } else if (tag.value == "import") {
    expect_name("as");
    node->stores.push_back(parse_target_name()->name);
    parse_import_context();
  } else if (tag.value == "from") {
    expect_name("import");
    parse_import_names(*node);
  }
  return node;
}

StmtPtr Parser::parse_print() {
  auto node = std::make_unique<OutputStmt>(advance().line);
  while (!at(TokenType::kBlockEnd)) {
    if (!node->nodes.empty()) expect(TokenType::kComma);
    node->nodes.push_back(parse_expression());
  }
  return node;
}

void Parser::parse_signature(MacroFunction& function) {
  expect(TokenType::kLeftParen);
  while (!at(TokenType::kRightParen)) {
    if (!function.parameters.empty()) expect(TokenType::kComma);
    auto parameter = parse_target_name();
    parameter->context = NameExpr::Context::kParameter;
    for (const auto& earlier : function.parameters) {
      if (earlier->name == parameter->name) {
        error("duplicate argument '" + parameter->name + "'", parameter->line);
      }
    }
    if (skip(TokenType::kAssign)) {
      function.defaults.push_back(parse_expression());
    } else if (!function.defaults.empty()) {
      error("non-default argument follows default argument");
    }
    function.parameters.push_back(std::move(parameter));
  }
  expect(TokenType::kRightParen);
}

StmtPtr Parser::parse_macro() {
  auto node = std::make_unique<MacroStmt>(advance().line);
  node->function.name = parse_target_name()->name;
  parse_signature(node->function);
  node->function.body = parse_statements({"endmacro"}, true);
  return node;
}

StmtPtr Parser::parse_call_block() {
  auto node = std::make_unique<CallBlockStmt>(advance().line);
  if (at(TokenType::kLeftParen)) parse_signature(node->function);
  ExprPtr call = parse_expression();
  if (call->kind != ExprKind::kCall) error("expected call", node->line);
  node->call.reset(static_cast<CallExpr*>(call.release()));
  for (const auto& [name, value] : node->call->arguments.keywords) {
    if (name == "caller") error("keyword argument repeated: caller", node->line);
  }
  node->function.body = parse_statements({"endcall"}, true);
  return node;
}

StmtPtr Parser::parse_generation() {
  auto node = std::make_unique<CallBlockStmt>(advance().line);
  node->function.body = parse_statements({"endgeneration"}, true);
  return node;
}

StmtPtr Parser::parse_filter_block() {
  auto node = std::make_unique<FilterBlockStmt>(advance().line);
  node->filter = parse_filter(nullptr, true);
  node->body = parse_statements({"endfilter"}, true);
  return node;
}

TemplateTree parse_template(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    fail(ErrorCode::kLimit, "{} bytes of template, {} allowed", source.size(), kMaxSourceBytes);
  }
  TemplateTree tree;
  tree.body = Parser(tokenize(source)).parse_body();
  resolve_scopes(tree);
  return tree;
}

}  // namespace sampan::jinja
