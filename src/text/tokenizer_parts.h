#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/vocabulary.h"

namespace sampan {

// What the loaders read from the various files and a Tokenizer is made of.
struct TokenizerParts {
  // Of the model alone; added tokens are put in by the Tokenizer.
  std::shared_ptr<Vocabulary> vocabulary;
  std::unique_ptr<Bpe> bpe;
  std::shared_ptr<const PreTokenizer> pre_tokenizer;
  bool nfc = false;
  // Every id within the vocabulary's size; one entry an id.
  std::vector<AddedToken> added_tokens;

  std::optional<std::int32_t> bos_id, eos_id, pad_id, eot_id;
  bool adds_bos = false;
  bool adds_eos = false;
};

}  // namespace sampan
