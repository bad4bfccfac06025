// Bytes of a connection, whole and cut in two: the same requests must be read, within the limits, and none whose length two readers
// could disagree about.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "serve/http/request_reader.h"

namespace {

constexpr std::uint64_t kBodyLimit = 4096;

struct Reading {
  std::vector<sampan::HttpRequest> requests;
  int error = 0;
};

void read(sampan::RequestReader& reader, Reading& reading) {
  if (reading.error != 0) return;
  try {
    while (reader.read_head() && reader.read_body(kBodyLimit)) {
      reading.requests.push_back(std::move(reader.request()));
      reader.next();
    }
  } catch (const sampan::HttpError& error) {
    reading.error = error.status();
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = bytes.empty() ? 0 : data[0] % (bytes.size() + 1);
  sampan::HttpLimits limits;
  limits.head = 1024;
  Reading whole, parts;
  sampan::RequestReader first(limits), second(limits);
  first.append(bytes);
  read(first, whole);
  second.append(bytes.substr(0, cut));
  read(second, parts);
  second.append(bytes.substr(cut));
  read(second, parts);

  require(whole.requests.size() == parts.requests.size());
  for (std::size_t i = 0; i < whole.requests.size(); ++i) {
    const sampan::HttpRequest& request = whole.requests[i];
    require(request.body == parts.requests[i].body && request.path == parts.requests[i].path);
    require(request.body.size() <= kBodyLimit && request.path.starts_with('/'));
    require(!(request.header("content-length") && request.header("transfer-encoding")));
    require(request.path.find("/../") == std::string::npos && request.path.find('\0') == std::string::npos);
  }
  return 0;
}
