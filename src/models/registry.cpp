#include <array>

#include "base/error.h"
#include "models/family.h"

namespace sampan {
namespace {

// Of families that share a GGUF architecture the first reads such files.
constexpr std::array<const Family*, 9> kFamilies = {&kLlamaFamily,      &kQwen2Family,      &kQwen2MoeFamily,
                                                    &kQwen3Family,      &kQwen3MoeFamily,   &kSeedOssFamily,
                                                    &kDeepseekV2Family, &kDeepseekV3Family, &kKimiK2Family};

std::string known_names(std::string_view Family::*name) {
  std::string names;
  for (const Family* family : kFamilies) {
    if (names.ends_with(family->*name)) continue;
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
