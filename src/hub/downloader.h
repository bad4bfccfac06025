#pragma once

#include <functional>
#include <string>
#include <vector>

#include "hub/download_queue.h"
#include "hub/hub_client.h"
#include "hub/store_layout.h"

namespace sampan {

struct DownloadedFile {
  std::string path;
  std::string sha256;  // the blob that holds it
};

struct DownloadOptions {
  int connections = 4;
  NetworkTuning network;
  CancelCheck cancel;
};

// Brings files of a snapshot into the store's blobs: several connections, over ranges of one file
// where its server has them; continues what an earlier run left; verifies each file's digest before
// it becomes a blob. Other processes may do the same at once: each file is fetched by one of them,
// the others wait for it. report is called from the calling thread about ten times a second. Throws
// the first failure that retries did not mend (Error), or PullCancelled; what has arrived stays for
// the next run.
std::vector<DownloadedFile> download_files(
    const HubClient& hub, const RepoSnapshot& snapshot, const std::vector<RepoFile>& files,
    const StoreLayout& layout, const DownloadOptions& options,
    const std::function<void(const DownloadProgress&)>& report);

// The name under which a file's content is on its way: its digest, or, where the hub lists none,
// its place in the hub.
std::string partial_key(const RepoFile& file, const ModelName& name, const std::string& commit);

// The blob of a file that is here already, by its listed digest; empty when it is not.
std::string sha256_if_here(const RepoFile& file, const ModelName& name, const StoreLayout& layout);

}  // namespace sampan
