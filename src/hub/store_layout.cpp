#include "hub/store_layout.h"

#include "hub/url.h"

namespace sampan {
namespace {

std::string owner(const ModelName& name) {
  return name.org.empty() ? std::string(kNoOwner) : name.org;
}

std::string flat(const ModelName& name) {
  return std::string(hub_prefix(name.hub)) + "--" + owner(name) + "--" + name.name;
}

}  // namespace

std::filesystem::path StoreLayout::model(const ModelName& name) const {
  return models() / hub_prefix(name.hub) / owner(name) / name.name;
}

std::filesystem::path StoreLayout::commit(const ModelName& name, const std::string& commit) const {
  return model(name) / commit;
}

std::filesystem::path StoreLayout::refs(const ModelName& name) const {
  return root_ / "refs" / hub_prefix(name.hub) / owner(name) / name.name;
}

std::filesystem::path StoreLayout::ref(const ModelName& name, const std::string& revision) const {
  return refs(name) / percent_encode(revision, false);
}

std::filesystem::path StoreLayout::git_ids(const ModelName& name) const {
  return root_ / "git-ids" / hub_prefix(name.hub) / owner(name) / name.name;
}

std::filesystem::path StoreLayout::pending(const ModelName& name, const std::string& commit) const {
  return pending_folder() / (flat(name) + "--" + commit + ".json");
}

std::filesystem::path StoreLayout::model_lock(const ModelName& name) const {
  return root_ / "locks" / (flat(name) + ".lock");
}

}  // namespace sampan
