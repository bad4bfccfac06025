#pragma once

#include <map>
#include <string>

#include "text/jinja/interpreter.h"
#include "text/jinja/value.h"

namespace sampan {

// A conversation made ready for a template as transformers' apply_chat_template makes it, and, with
// continue_final_message, what is left to do to the rendered text.
class PreparedChat {
 public:
  // Throws Error kInvalidArgument where transformers raises. `source`: the template's.
  PreparedChat(jinja::Budget& budget, const jinja::Value& messages, const jinja::Value& tools,
               const jinja::Value& variables,
               const std::map<std::string, std::string>& special_tokens, std::string_view source);

  std::map<std::string, jinja::Value> take_variables() { return std::move(variables_); }
  // Cuts what follows the final message, if it is to be continued.
  jinja::Text finish(jinja::Text rendered) const;

 private:
  using Entries = std::vector<jinja::DictObject::Entry>;

  jinja::Value message(const jinja::Value& given) const;
  void continue_message(std::vector<jinja::Value>& messages, const jinja::Value& field,
                        std::string_view source);
  jinja::Value tagged(const jinja::Value& text) const;
  jinja::Value tag_last_text(const jinja::Value& blocks);

  jinja::Budget& budget_;
  std::map<std::string, jinja::Value> variables_;
  bool continues_ = false;
  std::string final_text_;
};

}  // namespace sampan
