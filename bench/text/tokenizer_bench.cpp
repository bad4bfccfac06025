// tokenizer_bench FOLDER FILE...: the time to load a tokenizer, and encoding in MB/s of one
// thread's processor time, the best of three runs, for each text file as one string and in
// documents of 10 kB; one JSON object a line. tools/make_tokenizer_goldens.py time puts Hugging
// Face tokenizers' or tiktoken's figures beside it.
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "base/mapped_file.h"
#include "text/tokenizer.h"

namespace {

constexpr int kRuns = 3;
constexpr std::size_t kDocumentBytes = 10'000;

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The end of the document that starts at `begin`: not inside a UTF-8 sequence.
std::size_t document_end(std::string_view text, std::size_t begin, std::size_t bytes) {
  std::size_t end = std::min(text.size(), begin + bytes);
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  return end;
}

double megabytes_per_second(const sampan::Tokenizer& tokenizer, std::string_view text,
                            std::size_t document) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    const double start = processor_seconds();
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = document_end(text, begin, document);
      tokenizer.encode(text.substr(begin, end - begin));
      begin = end;
    }
    best = std::min(best, processor_seconds() - start);
  }
  return static_cast<double>(text.size()) / best / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: tokenizer_bench FOLDER FILE...\n", stderr);
    return 2;
  }
  try {
    const double start = processor_seconds();
    const auto tokenizer = sampan::load_tokenizer(argv[1]);
    fmt::print("{{\"load_ms\":{:.1f}}}\n", 1e3 * (processor_seconds() - start));
    for (int i = 2; i < argc; ++i) {
      const std::string text = sampan::read_file(argv[i]);
      fmt::print(
          "{{\"file\":\"{}\",\"bytes\":{},\"mb_per_s\":{:.1f},\"mb_per_s_in_documents\":{:.1f}}}\n",
          argv[i], text.size(), megabytes_per_second(*tokenizer, text, text.size()),
          megabytes_per_second(*tokenizer, text, kDocumentBytes));
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "tokenizer_bench: {}\n", error.what());
    return 2;
  }
  return 0;
}
