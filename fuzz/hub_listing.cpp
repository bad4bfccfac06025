// What hubs send and what lies on the disk, read without trust: JSON listings, header values,
// redirects, journals, manifests, model names. The first byte chooses the reader.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/listing.h"
#include "hub/manifest.h"
#include "hub/model_name.h"
#include "hub/partial_file.h"
#include "hub/selection.h"
#include "hub/url.h"

namespace {

using namespace sampan;

void read_huggingface_tree(std::string_view text) {
  std::vector<RepoFile> files;
  append_huggingface_tree(text, files);
  check_listing(files);
  for (const RepoFile& file : files) check_repo_path(file.path);
  select_files(files, {});
}

void read_modelscope_files(std::string_view text) {
  newest_modelscope_commit(text);
  const auto files = parse_modelscope_files(text);
  check_listing(files);
  select_files(files, {"*.json"});
}

void read_headers(std::string_view text) {
  next_page_query(text);
  parse_content_range(text);
  parse_retry_after(text, 1'000'000);
  plain_etag(text);
  parse_size(text);
}

void read_redirect(std::string_view text) {
  const Url endpoint = Url::parse("https://huggingface.co", "endpoint");
  const Url target = endpoint.resolve(text);
  if (target.origin().scheme != "https" && target.origin().scheme != "http") __builtin_trap();
  check_redirect(endpoint, endpoint, target);
  if (target.is_loopback() || target.origin().scheme == "http") __builtin_trap();
}

void read_manifest(std::string_view text) {
  const std::string json = manifest_to_json(manifest_from_json(text, "fuzz"));
  if (manifest_to_json(manifest_from_json(json, "fuzz")) != json) __builtin_trap();
}

void read_journal(std::string_view text) {
  for (const auto& [piece, checksum] : parse_journal(text, "sampan-journal/1 k 9 3", 3)) {
    if (piece >= 3) __builtin_trap();
  }
}

void read_glob(std::string_view text) {
  const auto end = text.find('\n');
  if (end != std::string_view::npos && text.size() < 4096)
    glob_match(text.substr(0, end), text.substr(end + 1));
}

// A name that is read and written again is the same name.
void read_name(std::string_view text) {
  const auto name = try_parse_model_name(text);
  if (name && parse_model_name(name->to_string()) != *name) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    switch (data[0]) {
      case '0':
        read_huggingface_tree(text);
        break;
      case '1':
        read_modelscope_files(text);
        break;
      case '2':
        parse_huggingface_info(text);
        break;
      case '3':
        parse_modelscope_commit(text, "master");
        break;
      case '4':
        parse_modelscope_license(text);
        break;
      case '5':
        read_headers(text);
        break;
      case '6':
        read_redirect(text);
        break;
      case '7':
        read_manifest(text);
        break;
      case '8':
        read_journal(text);
        break;
      case '9':
        read_glob(text);
        break;
      case 'a':
        read_name(text);
        break;
      case 'b':
        error_message_in(text);
        break;
      default:
        break;
    }
  } catch (const sampan::Error&) {
  }
  return 0;
}
