#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "formats/gguf_writer.h"
#include "models/checkpoint.h"
#include "models/compensator.h"
#include "models/importance.h"

namespace sampan {

// What the matrices of a written file are: all of one type or, `mixed`, Q6_K where errors are felt most: the values of
// attention and the MLP's way down in the first and the last eighth of the layers and in every third between. With Q4_K and
// Q5_K these are the mixtures that peers call Q4_K_M and Q5_K_M.
struct MatrixTypes {
  DType type = DType::kQ4_K;
  bool mixed = false;
};

// "Q4_K", "Q4_K_M", in small letters as well; nullopt for a name that is no type or one that weights are not written in.
std::optional<MatrixTypes> matrix_types_named(std::string_view name);

// What was measured on a checkpoint while it read a text, each null where it was not.
struct Calibration {
  const Importance* importance = nullptr;
  Compensator* compensator = nullptr;  // of roundings of matrices that it can compensate, importance for the others
};

// Describes and writes a checkpoint's weights as GGUF, matrices encoded as `types` say.
struct GgufExport {
  // Which type each tensor gets: matrices those of `types` (Q8_0 or F16 where their width does not fit its blocks; a head or an
  // embedding that serves as one at least Q6_K), vectors F32. Throws Error kUnsupported for what GGUF cannot say (sliding windows
  // by layer, dynamic NTK) and for a type that cannot be encoded.
  GgufExport(const Checkpoint& checkpoint, MatrixTypes types);

  // Adds the metadata of the configuration ("qwen3.block_count" …) unless the checkpoint is GGUF itself, whose own metadata is
  // copied then.
  void write_metadata(GgufWriter& writer) const;
  // Adds all tensors' descriptions, then writes their data. progress(done bytes, all bytes) is called between tensors. Returns
  // the names of matrices that the compensator was there for and that met nothing but zeros.
  using Progress = std::function<void(std::int64_t done, std::int64_t total)>;
  std::vector<std::string> write_tensors(GgufWriter& writer, ThreadPool& pool, const Calibration& calibration,
                                         const Progress& progress) const;
  // Matrices whose codes are rounded without compensation: embedding and head, and those that it cannot be had for.
  std::vector<std::string> uncompensated(const Compensator& compensator) const;

 private:
  struct Item {
    std::string name;         // GGUF's
    std::string stored_name;  // in the checkpoint
    TensorView source;
    DType type = DType::kF32;
    std::int64_t permuted_heads = 0;  // rows to be put in GGUF's order
  };

  DType type_for(const std::string& name, const TensorView& view) const;
  bool is_compensated(const Item& item, const Compensator& compensator) const;
  void write_item(const Item& item, const Importance* importance, const Compensation* compensation, GgufWriter& writer,
                  ThreadPool& pool) const;

  const Checkpoint& checkpoint_;
  MatrixTypes types_;
  std::vector<Item> items_;
};

}  // namespace sampan
