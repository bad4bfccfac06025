// Products on request, for workbench.py, which lets several builds of this program take turns:
//
//   product_worker [--threads N]      (SAMPAN_ISA chooses the kernels)
//
// A line in, a line of JSON out:
//   peaks                            what the machine can do
//   case TYPE ROWS COLUMNS TOKENS    makes the weights and multiplies once; a hash of the bits
//   run SECONDS                      multiplies for so long; median seconds of a product

#include <bit>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/isa.h"
#include "kernels/peaks.h"
#include "product_case.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

// FNV-1a of the bits of floats.
std::string hash_of(const std::vector<float>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const float value : values) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3u;
  }
  return std::to_string(hash);
}

// The name in `peaks` of what bounds the products of a matrix.
std::string_view peak_of(const WeightMatrix& w) {
  if (is_block_type(w.dtype())) return "int8";
  return w.activations() == ActivationKind::kBf16 ? "bf16" : "float";
}

class Worker {
 public:
  explicit Worker(int threads) : pool_(threads) {}

  Json answer(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "peaks") return peaks();
    if (verb == "case") {
      std::string type;
      MatrixShape shape{};
      std::int64_t tokens = 0;
      words >> type >> shape.rows >> shape.columns >> tokens;
      const bool is_sound = shape.rows > 0 && shape.columns > 0 && tokens > 0;
      if (!words || !is_sound) fail(ErrorCode::kInvalidArgument, "case TYPE ROWS COLUMNS TOKENS");
      return make_case(type, shape, tokens);
    }
    if (verb == "run" && case_) {
      double seconds = 0;
      words >> seconds;
      const double median = median_seconds(seconds, 1, [this] { case_->run(); });
      return {{"seconds", median / static_cast<double>(case_->products())}};
    }
    fail(ErrorCode::kInvalidArgument, "peaks, case or run");
  }

 private:
  Json peaks() {
    const MachinePeaks peaks = measure_peaks(pool_);
    return {{"isa", isa_name(active_isa())},        {"threads", pool_.size()},
            {"read", peaks.read_bytes_per_second},  {"int8", peaks.int8_macs_per_second},
            {"float", peaks.float_macs_per_second}, {"bf16", peaks.bf16_macs_per_second}};
  }

  Json make_case(const std::string& type, const MatrixShape& shape, std::int64_t tokens) {
    case_.reset();  // first its memory
    case_ = std::make_unique<ProductCase>(type, shape, pool_);
    case_->set_tokens(tokens);
    case_->run();
    return {{"hash", hash_of(case_->outputs())},
            {"weight_bytes", case_->matrix().bytes()},
            {"peak", peak_of(case_->matrix())}};
  }

  ThreadPool pool_;
  std::unique_ptr<ProductCase> case_;
};

int run(int argc, char** argv) {
  int threads = default_thread_count();
  if (argc == 3 && std::string_view(argv[1]) == "--threads") threads = std::atoi(argv[2]);
  Worker worker(threads);
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      answer = worker.answer(line);
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace sampan

int main(int argc, char** argv) { return sampan::run(argc, argv); }
