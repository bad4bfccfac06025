#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

namespace sampan::testing {

// A copy of a checkpoint's config.json and model.safetensors in a folder of its own, with something
// changed. The folder goes with the object.
class ChangedCheckpoint {
 public:
  // change(header, data): of the safetensors file.
  using Change = std::function<void(nlohmann::json& header, std::string& data)>;

  ChangedCheckpoint(const std::filesystem::path& original, const std::string& name,
                    const Change& change)
      : folder_(std::filesystem::temp_directory_path() /
                ("sampan-" + name + "-" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(folder_);
    std::filesystem::copy_file(original / "config.json", folder_ / "config.json");
    std::ifstream in(original / "model.safetensors", std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof(size));
    nlohmann::json header = nlohmann::json::parse(bytes.substr(8, size));
    std::string data = bytes.substr(8 + size);
    change(header, data);
    const std::string text = header.dump();
    size = text.size();
    std::ofstream out(folder_ / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&size), sizeof(size));
    out << text << data;
  }
  ~ChangedCheckpoint() { std::filesystem::remove_all(folder_); }
  ChangedCheckpoint(const ChangedCheckpoint&) = delete;
  ChangedCheckpoint& operator=(const ChangedCheckpoint&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  // The tensor under another name, since no bytes may go unused.
  static void hide(nlohmann::json& header, const std::string& name) {
    header["unused." + name] = header[name];
    header.erase(name);
  }

  // A tensor's bytes within data.
  static std::size_t begin(const nlohmann::json& header, const std::string& name) {
    return header.at(name).at("data_offsets").at(0);
  }
  static std::size_t end(const nlohmann::json& header, const std::string& name) {
    return header.at(name).at("data_offsets").at(1);
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace sampan::testing
