#include "serve/api/api_error.h"

#include "serve/host/inference.h"

namespace sampan {

ApiError to_api_error(const Error& error) {
  const std::string message = error.what();
  if (dynamic_cast<const OverloadedError*>(&error) != nullptr)
    return {503, message, "", "overloaded"};
  if (dynamic_cast<const DeadlineError*>(&error) != nullptr) return {408, message, "", "timeout"};
  if (const auto* const load = dynamic_cast<const LoadError*>(&error))
    return {500, "The model `" + printable(load->model(), 200) + "` could not be loaded."};
  switch (error.code()) {
    case ErrorCode::kLimit:
      if (message.find("maximum context length") != std::string::npos)
        return {400, message, "", "context_length_exceeded"};
      return {400, message};
    case ErrorCode::kNotFound:
      return {404, message, "model", "model_not_found"};
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return {400, message};
    case ErrorCode::kPermission:
      return {403, message};
    case ErrorCode::kCancelled:
      return {503, message, "", "cancelled"};
    default:
      return {500, message};
  }
}

ApiError to_api_error(std::exception_ptr caught) {
  try {
    std::rethrow_exception(std::move(caught));
  } catch (const ApiError& error) {
    return error;
  } catch (const Error& error) {
    return to_api_error(error);
  } catch (const std::exception&) {
    return {500, "The server failed to answer this request."};
  }
}

}  // namespace sampan
