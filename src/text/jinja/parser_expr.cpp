#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/jinja/number.h"
#include "text/jinja/parser.h"
#include "text/jinja/parser_impl.h"

namespace sampan::jinja {
namespace {

bool is_constant_name(std::string_view name) {
  return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" ||
         name == "None";
}

std::optional<CompareOp> compare_op(TokenType type) {
  switch (type) {
    case TokenType::kEq:
      return CompareOp::kEq;
    case TokenType::kNe:
      return CompareOp::kNe;
    case TokenType::kGt:
      return CompareOp::kGt;
    case TokenType::kGtEq:
      return CompareOp::kGe;
    case TokenType::kLt:
      return CompareOp::kLt;
    case TokenType::kLtEq:
      return CompareOp::kLe;
    default:
      return std::nullopt;
  }
}

std::optional<BinaryOp> product_op(TokenType type) {
  switch (type) {
    case TokenType::kMul:
      return BinaryOp::kMul;
    case TokenType::kDiv:
      return BinaryOp::kDiv;
    case TokenType::kFloorDiv:
      return BinaryOp::kFloorDiv;
    case TokenType::kMod:
      return BinaryOp::kMod;
    default:
      return std::nullopt;
  }
}

// Whether a node may be assigned to; turns its names into targets.
bool make_target(Expr& node) {
  if (node.kind == ExprKind::kNamespaceRef) return true;
  if (node.kind == ExprKind::kName) {
    auto& name = static_cast<NameExpr&>(node);
    name.context = NameExpr::Context::kStore;
    return true;
  }
  if (node.kind != ExprKind::kTuple) return false;
  auto& items = static_cast<TupleExpr&>(node).items;
  return std::all_of(items.begin(), items.end(),
                     [](const ExprPtr& item) { return make_target(*item); });
}

}  // namespace

void Parser::hang(Expr& parent, const ExprPtr& child) {
  if (child == nullptr) return;
  if (child->depth >= kMaxExpressionDepth) {
    fail(ErrorCode::kLimit, "line {}: an expression more than {} operations deep", parent.line,
         kMaxExpressionDepth);
  }
  parent.depth =
      std::max<std::uint16_t>(parent.depth, static_cast<std::uint16_t>(child->depth + 1));
}

void Parser::hang(Expr& parent, const Arguments& arguments) {
  for (const auto& argument : arguments.positional) hang(parent, argument);
  for (const auto& [name, argument] : arguments.keywords) hang(parent, argument);
  hang(parent, arguments.more_positional);
  hang(parent, arguments.more_keywords);
}

ExprPtr Parser::binary(BinaryOp op, ExprPtr left, ExprPtr right, std::uint32_t line) {
  auto node = std::make_unique<BinaryExpr>(line);
  node->op = op;
  hang(*node, left);
  hang(*node, right);
  node->left = std::move(left);
  node->right = std::move(right);
  return node;
}

bool Parser::at_tuple_end(const TupleRules& rules) const {
  return at(TokenType::kVariableEnd) || at(TokenType::kBlockEnd) || at(TokenType::kRightParen) ||
         (rules.end_name != nullptr && at_name(rules.end_name));
}

ExprPtr Parser::parse_tuple(const TupleRules& rules) {
  const std::uint32_t line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect(TokenType::kComma);
    if (at_tuple_end(rules)) break;
    items.push_back(rules.simplified ? parse_primary(rules.with_namespace)
                                     : parse_expression(rules.with_condition));
    if (!at(TokenType::kComma)) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!rules.in_parentheses) error("Expected an expression, got '" + describe(current()) + "'");
  }
  auto tuple = std::make_unique<TupleExpr>(line);
  for (const auto& item : items) hang(*tuple, item);
  tuple->items = std::move(items);
  return tuple;
}

ExprPtr Parser::parse_target(const TupleRules& rules) {
  ExprPtr target = parse_tuple(rules);
  if (!make_target(*target)) error("can't assign to an expression", target->line);
  return target;
}

std::unique_ptr<NameExpr> Parser::parse_target_name() {
  const Token token = expect_name();
  if (is_constant_name(token.value)) error("can't assign to '" + token.value + "'", token.line);
  auto name = std::make_unique<NameExpr>(token.line);
  name->name = token.value;
  name->context = NameExpr::Context::kStore;
  return name;
}

ExprPtr Parser::parse_expression(bool with_condition) {
  return with_condition ? parse_condition() : parse_or();
}

ExprPtr Parser::parse_condition() {
  const Nesting nesting(*this);
  std::uint32_t line = current().line;
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    auto node = std::make_unique<ConditionExpr>(line);
    node->test = parse_or();
    if (skip_name("else")) node->otherwise = parse_condition();
    hang(*node, value);
    hang(*node, node->test);
    hang(*node, node->otherwise);
    node->value = std::move(value);
    value = std::move(node);
    line = current().line;
  }
  return value;
}

ExprPtr Parser::parse_or() {
  std::uint32_t line = current().line;
  ExprPtr left = parse_and();
  while (skip_name("or")) {
    auto node = std::make_unique<OrExpr>(line);
    node->left = std::move(left);
    node->right = parse_and();
    hang(*node, node->left);
    hang(*node, node->right);
    left = std::move(node);
    line = current().line;
  }
  return left;
}

ExprPtr Parser::parse_and() {
  std::uint32_t line = current().line;
  ExprPtr left = parse_not();
  while (skip_name("and")) {
    auto node = std::make_unique<AndExpr>(line);
    node->left = std::move(left);
    node->right = parse_not();
    hang(*node, node->left);
    hang(*node, node->right);
    left = std::move(node);
    line = current().line;
  }
  return left;
}

ExprPtr Parser::parse_not() {
  const Nesting nesting(*this);
  if (!at_name("not")) return parse_compare();
  auto node = std::make_unique<UnaryExpr>(advance().line);
  node->op = UnaryOp::kNot;
  node->node = parse_not();
  hang(*node, node->node);
  return node;
}

ExprPtr Parser::parse_compare() {
  const std::uint32_t line = current().line;
  ExprPtr first = parse_sum();
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
  while (true) {
    if (const auto op = compare_op(current().type)) {
      advance();
      rest.emplace_back(*op, parse_sum());
    } else if (skip_name("in")) {
      rest.emplace_back(CompareOp::kIn, parse_sum());
    } else if (at_name("not") && look().type == TokenType::kName && look().value == "in") {
      advance();
      advance();
      rest.emplace_back(CompareOp::kNotIn, parse_sum());
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  auto node = std::make_unique<CompareExpr>(line);
  hang(*node, first);
  for (const auto& [op, operand] : rest) hang(*node, operand);
  node->first = std::move(first);
  node->rest = std::move(rest);
  return node;
}

ExprPtr Parser::parse_sum() {
  std::uint32_t line = current().line;
  ExprPtr left = parse_concat();
  while (at(TokenType::kAdd) || at(TokenType::kSub)) {
    const BinaryOp op = advance().type == TokenType::kAdd ? BinaryOp::kAdd : BinaryOp::kSub;
    ExprPtr right = parse_concat();
    left = binary(op, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  const std::uint32_t line = current().line;
  ExprPtr first = parse_product();
  if (!at(TokenType::kTilde)) return first;
  auto node = std::make_unique<ConcatExpr>(line);
  node->nodes.push_back(std::move(first));
  while (skip(TokenType::kTilde)) node->nodes.push_back(parse_product());
  for (const auto& part : node->nodes) hang(*node, part);
  return node;
}

ExprPtr Parser::parse_product() {
  std::uint32_t line = current().line;
  ExprPtr left = parse_power();
  while (const auto op = product_op(current().type)) {
    advance();
    ExprPtr right = parse_power();
    left = binary(*op, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExprPtr Parser::parse_power() {
  std::uint32_t line = current().line;
  ExprPtr left = parse_unary();
  while (skip(TokenType::kPow)) {
    ExprPtr right = parse_unary();
    left = binary(BinaryOp::kPow, std::move(left), std::move(right), line);
    line = current().line;
  }
  return left;
}

ExprPtr Parser::parse_unary(bool with_filters) {
  const Nesting nesting(*this);
  const std::uint32_t line = current().line;
  ExprPtr node;
  if (at(TokenType::kSub) || at(TokenType::kAdd)) {
    auto unary = std::make_unique<UnaryExpr>(line);
    unary->op = advance().type == TokenType::kSub ? UnaryOp::kNegate : UnaryOp::kPlus;
    unary->node = parse_unary(false);
    hang(*unary, unary->node);
    node = std::move(unary);
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr Parser::parse_name(bool with_namespace) {
  const Token token = advance();
  if (is_constant_name(token.value)) {
    auto node = std::make_unique<ConstExpr>(token.line);
    const char initial = static_cast<char>(token.value[0] | 0x20);
    node->value = initial == 'n' ? Value::none() : Value::boolean(initial == 't');
    return node;
  }
  if (with_namespace && skip(TokenType::kDot)) {
    auto node = std::make_unique<NamespaceRefExpr>(token.line);
    node->name = token.value;
    node->attribute = make_string(nullptr, expect_name().value, true);
    return node;
  }
  auto node = std::make_unique<NameExpr>(token.line);
  node->name = token.value;
  return node;
}

ExprPtr Parser::parse_string() {
  const std::uint32_t line = current().line;
  std::string text;
  while (at(TokenType::kString)) text += advance().value;
  auto node = std::make_unique<ConstExpr>(line);
  node->value = make_string(nullptr, std::move(text), true);
  return node;
}

ExprPtr Parser::parse_primary(bool with_namespace) {
  const std::uint32_t line = current().line;
  switch (current().type) {
    case TokenType::kName:
      return parse_name(with_namespace);
    case TokenType::kString:
      return parse_string();
    case TokenType::kInteger: {
      auto node = std::make_unique<ConstExpr>(line);
      const auto number = parse_int(advance().value, 0);
      if (!number) error("invalid integer", line);
      node->value = make_integer(nullptr, *number, true);
      return node;
    }
    case TokenType::kFloat: {
      auto node = std::make_unique<ConstExpr>(line);
      node->value = Value::real(parse_float(advance().value).value_or(0), true);
      return node;
    }
    case TokenType::kLeftParen: {
      advance();
      ExprPtr node = parse_tuple({.in_parentheses = true});
      expect(TokenType::kRightParen);
      return node;
    }
    case TokenType::kLeftBracket:
      return parse_list();
    case TokenType::kLeftBrace:
      return parse_dict();
    default:
      error("unexpected '" + describe(current()) + "'");
  }
}

ExprPtr Parser::parse_list() {
  auto node = std::make_unique<ListExpr>(expect(TokenType::kLeftBracket).line);
  while (!at(TokenType::kRightBracket)) {
    if (!node->items.empty()) expect(TokenType::kComma);
    if (at(TokenType::kRightBracket)) break;
    node->items.push_back(parse_expression());
    hang(*node, node->items.back());
  }
  expect(TokenType::kRightBracket);
  return node;
}

ExprPtr Parser::parse_dict() {
  auto node = std::make_unique<DictExpr>(expect(TokenType::kLeftBrace).line);
  while (!at(TokenType::kRightBrace)) {
    if (!node->items.empty()) expect(TokenType::kComma);
    if (at(TokenType::kRightBrace)) break;
    ExprPtr key = parse_expression();
    expect(TokenType::kColon);
    ExprPtr value = parse_expression();
    hang(*node, key);
    hang(*node, value);
    node->items.emplace_back(std::move(key), std::move(value));
  }
  expect(TokenType::kRightBrace);
  return node;
}

ExprPtr Parser::parse_postfix(ExprPtr node) {
  while (true) {
    if (at(TokenType::kDot) || at(TokenType::kLeftBracket)) {
      node = parse_subscript(std::move(node));
    } else if (at(TokenType::kLeftParen)) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_filters_and_tests(ExprPtr node) {
  while (true) {
    if (at(TokenType::kPipe)) {
      node = parse_filter(std::move(node));
    } else if (at_name("is")) {
      node = parse_test(std::move(node));
    } else if (at(TokenType::kLeftParen)) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_subscript(ExprPtr node) {
  const Token opening = advance();
  if (opening.type == TokenType::kDot) {
    const Token attribute = advance();
    if (attribute.type == TokenType::kName) {
      auto getattr = std::make_unique<GetattrExpr>(opening.line);
      hang(*getattr, node);
      getattr->node = std::move(node);
      getattr->attribute = attribute.value;
      return getattr;
    }
    if (attribute.type != TokenType::kInteger) error("expected name or number", attribute.line);
    auto index = std::make_unique<ConstExpr>(attribute.line);
    const auto number = parse_int(attribute.value, 0);
    if (!number) error("invalid integer", attribute.line);
    index->value = make_integer(nullptr, *number, true);
    auto getitem = std::make_unique<GetitemExpr>(opening.line);
    hang(*getitem, node);
    getitem->node = std::move(node);
    getitem->argument = std::move(index);
    return getitem;
  }
  std::vector<ExprPtr> arguments;
  while (!at(TokenType::kRightBracket)) {
    if (!arguments.empty()) expect(TokenType::kComma);
    arguments.push_back(parse_subscribed());
  }
  expect(TokenType::kRightBracket);
  auto getitem = std::make_unique<GetitemExpr>(opening.line);
  for (const auto& argument : arguments) hang(*getitem, argument);
  hang(*getitem, node);
  getitem->node = std::move(node);
  if (arguments.size() == 1) {
    getitem->argument = std::move(arguments[0]);
  } else {
    for (const auto& argument : arguments) {
      if (argument->kind == ExprKind::kSlice) error("a slice among several indices", opening.line);
    }
    auto tuple = std::make_unique<TupleExpr>(opening.line);
    tuple->items = std::move(arguments);
    getitem->argument = std::move(tuple);
  }
  return getitem;
}

ExprPtr Parser::parse_subscribed() {
  const std::uint32_t line = current().line;
  ExprPtr start;
  if (!at(TokenType::kColon)) {
    start = parse_expression();
    if (!at(TokenType::kColon)) return start;
  }
  advance();
  auto slice = std::make_unique<SliceExpr>(line);
  slice->start = std::move(start);
  const auto at_end = [this] { return at(TokenType::kRightBracket) || at(TokenType::kComma); };
  if (!at(TokenType::kColon) && !at_end()) slice->stop = parse_expression();
  if (skip(TokenType::kColon) && !at_end()) slice->step = parse_expression();
  hang(*slice, slice->start);
  hang(*slice, slice->stop);
  hang(*slice, slice->step);
  return slice;
}

Arguments Parser::parse_arguments() {
  const Token opening = expect(TokenType::kLeftParen);
  Arguments out;
  const auto ensure = [&](bool valid) {
    if (!valid) error("invalid syntax for function call expression", opening.line);
  };
  bool first = true;
  while (!at(TokenType::kRightParen)) {
    if (!first) {
      expect(TokenType::kComma);
      if (at(TokenType::kRightParen)) break;
    }
    first = false;
    if (skip(TokenType::kMul)) {
      ensure(out.more_positional == nullptr && out.more_keywords == nullptr);
      out.more_positional = parse_expression();
    } else if (skip(TokenType::kPow)) {
      ensure(out.more_keywords == nullptr);
      out.more_keywords = parse_expression();
    } else if (at(TokenType::kName) && look().type == TokenType::kAssign) {
      ensure(out.more_keywords == nullptr);
      const Token name = advance();
      advance();
      for (const auto& [earlier, value] : out.keywords) {
        if (earlier == name.value) error("keyword argument repeated: " + name.value, name.line);
      }
      out.keywords.emplace_back(name.value, parse_expression());
    } else {
      ensure(out.more_positional == nullptr && out.more_keywords == nullptr &&
             out.keywords.empty());
      out.positional.push_back(parse_expression());
    }
  }
  expect(TokenType::kRightParen);
  return out;
}

ExprPtr Parser::parse_call(ExprPtr node) {
  auto call = std::make_unique<CallExpr>(current().line);
  call->arguments = parse_arguments();
  hang(*call, node);
  hang(*call, call->arguments);
  call->node = std::move(node);
  return call;
}

std::string Parser::parse_dotted_name() {
  std::string name = expect_name().value;
  while (skip(TokenType::kDot)) name += "." + expect_name().value;
  return name;
}

// One filter or more. `starts`: the position is at the first one's name, behind no pipe.
ExprPtr Parser::parse_filter(ExprPtr node, bool starts) {
  while (starts || at(TokenType::kPipe)) {
    if (!starts) advance();
    starts = false;
    auto filter = std::make_unique<FilterExpr>(current().line);
    filter->name = parse_dotted_name();
    if (at(TokenType::kLeftParen)) filter->arguments = parse_arguments();
    hang(*filter, node);
    hang(*filter, filter->arguments);
    filter->node = std::move(node);
    node = std::move(filter);
  }
  return node;
}

ExprPtr Parser::parse_test(ExprPtr node) {
  auto test = std::make_unique<TestExpr>(advance().line);
  const bool negated = skip_name("not");
  test->name = parse_dotted_name();
  const auto takes_argument = [this] {
    switch (current().type) {
      case TokenType::kName:
        return !at_name("else") && !at_name("or") && !at_name("and");
      case TokenType::kString:
      case TokenType::kInteger:
      case TokenType::kFloat:
      case TokenType::kLeftBracket:
      case TokenType::kLeftBrace:
        return true;
      default:
        return false;
    }
  };
  if (at(TokenType::kLeftParen)) {
    test->arguments = parse_arguments();
  } else if (takes_argument()) {
    if (at_name("is")) error("You cannot chain multiple tests with is");
    const Nesting nesting(*this);
    ExprPtr argument = parse_primary();
    test->arguments.positional.push_back(parse_postfix(std::move(argument)));
  }
  hang(*test, node);
  hang(*test, test->arguments);
  test->node = std::move(node);
  if (!negated) return test;
  auto inverted = std::make_unique<UnaryExpr>(test->line);
  inverted->op = UnaryOp::kNot;
  inverted->node = std::move(test);
  hang(*inverted, inverted->node);
  return inverted;
}

}  // namespace sampan::jinja
