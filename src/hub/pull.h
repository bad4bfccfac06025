#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hub/http.h"
#include "hub/model_name.h"
#include "hub/model_store.h"
#include "hub/settings.h"

namespace sampan {

struct PullProgress {
  enum class Phase { kListing, kChecking, kDownloading, kDone };
  Phase phase = Phase::kListing;
  std::uint64_t total_bytes = 0;
  std::uint64_t done_bytes = 0;     // with what was here before
  std::uint64_t network_bytes = 0;  // received in this run
  std::size_t total_files = 0;
  std::size_t done_files = 0;
  std::string commit;  // once known
  std::string file;    // under way
  // Events since the last call ("…: HTTP status 503, again in 2 s").
  std::vector<std::string> notes;
};

struct PullOptions {
  HubSettings settings;
  std::vector<std::string> include;  // globs; empty: what select_files chooses
  int connections = 4;
  bool recheck = false;  // read again what is in the store already and replace what is damaged
  NetworkTuning network;
  CancelCheck cancel;  // for Ctrl-C: once it says true, pull throws PullCancelled
  // About ten times a second, from the calling thread.
  std::function<void(const PullProgress&)> progress;
};

// Downloads a model into the store, or finds that it is there. After an interruption of any kind (a
// signal, kill -9, a cut connection, a full disk, power loss) the same call continues. Every file
// is verified against the digest that the hub lists; the model appears in the store, with its
// manifest, only when all of its files are there. Offline (settings.offline): returns the model if
// it is here, else throws kNotFound. Throws Error kNotFound, kPermission, kNetwork, kInvalidData,
// kInvalidArgument, kUnsupported, kIo, each one line for the user; PullCancelled.
LocalModel pull(const ModelName& name, const PullOptions& options);

}  // namespace sampan
