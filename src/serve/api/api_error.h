#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"

namespace sampan {

// Why a request is answered with an error; each dialect words it in its own shape.
struct ApiError : std::runtime_error {
  ApiError(int status_code, const std::string& message, std::string param_name = "",
           std::string code_name = "")
      : std::runtime_error(message),
        status(status_code),
        param(std::move(param_name)),
        code(std::move(code_name)) {}

  int status;
  std::string param;  // the field that is wrong; "" for none
  std::string code;   // OpenAI's: "model_not_found", …; "" for none
};

// How the engine's and the host's errors are told to clients: overload 503, deadline 408, a prompt
// over the context 400 context_length_exceeded, an unknown model 404 model_not_found, what the
// caller may mend 400, the rest 500; why a model could not be loaded is not told.
ApiError to_api_error(const Error& error);
// The same for whatever was caught; bugs of ours are 500 without details.
ApiError to_api_error(std::exception_ptr caught);

}  // namespace sampan
