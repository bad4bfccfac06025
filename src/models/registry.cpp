#include <array>

#include "base/error.h"
#include "models/family.h"

namespace sampan {
namespace {

constexpr std::array<const Family*, 4> kFamilies = {&kLlamaFamily, &kQwen2Family, &kQwen3Family,
                                                    &kSeedOssFamily};

std::string known_names(std::string_view Family::*name) {
  std::string names;
  for (const Family* family : kFamilies) {
    names += names.empty() ? "" : ", ";
    names += family->*name;
  }
  return names;
}

const Family& find(std::string_view value, std::string_view Family::*name, std::string_view key) {
  for (const Family* family : kFamilies) {
    if (family->*name == value) return *family;
  }
  fail(ErrorCode::kUnsupported, "{} \"{}\" is not one this version runs ({})", key, printable(value),
       known_names(name));
}

}  // namespace

std::span<const Family* const> families() { return kFamilies; }

const Family& family_of_model_type(std::string_view model_type) {
  return find(model_type, &Family::model_type, "config.json: model_type");
}

const Family& family_of_gguf(std::string_view architecture) {
  return find(architecture, &Family::gguf_architecture, "gguf: general.architecture");
}

const Family& family_named(std::string_view family) {
  for (const Family* candidate : kFamilies) {
    if (candidate->model_type == family) return *candidate;
  }
  SAMPAN_CHECK(false && "a ModelConfig has a known family");
  return kLlamaFamily;
}

}  // namespace sampan
