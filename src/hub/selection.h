#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/listing.h"

namespace sampan {

// Shell-style match of a whole path: '*' (any bytes, '/' too), '?' (one byte), [abc], [a-z], [!a];
// everything else is itself. Linear in practice and never worse than |pattern| * |text|.
bool glob_match(std::string_view pattern, std::string_view text);

// The files to download. With include: those whose path, or whose file name for a pattern without
// '/', matches one of the patterns; throws Error kNotFound, naming some files, when a pattern
// matches none. Without: what a model needs and no more:
//   - with safetensors: these and all small files, without the same weights in other formats
//   (pickle, ONNX, TensorFlow,
//     GGUF, "original/" folders …), without pictures and without code;
//   - with GGUF files only: the one model there is, with its shards; where there are several
//   (quantizations), throws
//     Error kInvalidArgument that lists the choices;
//   - with weights in other formats only: throws Error kUnsupported;
//   - without any weights: everything.
std::vector<RepoFile> select_files(const std::vector<RepoFile>& files,
                                   const std::vector<std::string>& include);

// The model that a GGUF file is a shard of: its path without "-00001-of-00005.gguf" or ".gguf".
std::string gguf_model_of(std::string_view path);

}  // namespace sampan
