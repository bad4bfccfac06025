#include "formats/tensor_descriptor.h"

namespace sampan {

const std::string* find_twin_name(const std::vector<TensorDescriptor>& tensors) {
  std::vector<const std::string*> names(tensors.size());
  std::transform(tensors.begin(), tensors.end(), names.begin(),
                 [](const TensorDescriptor& tensor) { return &tensor.name; });
  std::sort(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a < *b; });
  const auto twin = std::adjacent_find(names.begin(), names.end(),
                                       [](const auto* a, const auto* b) { return *a == *b; });
  return twin == names.end() ? nullptr : *twin;
}

}  // namespace sampan
