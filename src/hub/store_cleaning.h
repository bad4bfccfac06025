#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "hub/digest.h"
#include "hub/model_name.h"
#include "hub/store_layout.h"

namespace sampan {

// Removes a model's commit (that of name.revision) or, without a revision, all of it: folders,
// refs, pending pulls, git ids. The answer is the number of commits and pending pulls removed.
// Blobs stay.
std::size_t remove_model(const StoreLayout& layout, const ModelName& name);

// Removes the blobs and partial files that neither a manifest nor a pending pull names. The bytes
// freed; nothing, and nothing done, when a pull is under way in some process. A manifest that
// cannot be read stops it (Error kInvalidData): what it needs is not known.
std::optional<std::uint64_t> remove_unused_blobs(const StoreLayout& layout);

// Reads a file. advance is called with each number of bytes read, and may throw.
ContentIds hash_file(const std::filesystem::path& path, bool with_git_oid,
                     const std::function<void(std::uint64_t)>& advance);

}  // namespace sampan
