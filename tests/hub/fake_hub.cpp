#include "hub/fake_hub.h"

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "hub/digest.h"

namespace sampan::testing {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

ServerReply json_reply(const Json& value) {
  return {200,
          {{"Content-Type", "application/json"}},
          value.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

ServerReply error_reply(int status, const std::string& code, const std::string& message) {
  return {status,
          {{"X-Error-Code", code}, {"X-Error-Message", message}},
          Json{{"error", message}}.dump()};
}

const FakeFile& listed_file(const FakeRepo& repo, const std::string& path, const FakeFile& real) {
  const auto it = repo.listed.find(path);
  return it == repo.listed.end() ? real : it->second;
}

}  // namespace

FakeHub::FakeHub()
    : api([this](const ServerRequest& request) {
        ServerReply reply = answer_api(request);
        apply_changes(request, reply);
        return reply;
      }),
      storage([this](const ServerRequest& request) {
        ServerReply reply = answer_storage(request);
        apply_changes(request, reply);
        return reply;
      }) {}

void FakeHub::change(const std::string& path, int times, Change change) {
  const std::lock_guard lock(mutex_);
  changes_.push_back({path, times, std::move(change)});
}

void FakeHub::apply_changes(const ServerRequest& request, ServerReply& reply) {
  const std::lock_guard lock(mutex_);
  const auto query = request.query.find("FilePath");
  const std::string subject =
      request.path + (query == request.query.end() ? "" : "?" + query->second);
  for (Scripted& scripted : changes_) {
    if (scripted.times <= 0 || subject.find(scripted.path) == std::string::npos) continue;
    --scripted.times;
    scripted.change(request, reply);
    return;
  }
}

HubSettings FakeHub::settings(const fs::path& folder) const {
  HubSettings settings;
  settings.store_root = folder / "store";
  settings.huggingface_cache = folder / "hf-cache";
  settings.huggingface_endpoint = api.url();
  settings.modelscope_endpoint = api.url();
  return settings;
}

ServerReply FakeHub::answer_api(const ServerRequest& request) {
  const std::string hf = "/api/models/", ms = "/api/v1/models/";
  if (request.path.starts_with(ms))
    return answer_modelscope(request, request.path.substr(ms.size()));
  if (request.path.starts_with(hf))
    return answer_huggingface_api(request, request.path.substr(hf.size()));
  const auto resolve = request.path.find("/resolve/");
  if (resolve == std::string::npos) return error_reply(404, "", "no such page");
  return answer_resolve(request, request.path.substr(1, resolve - 1),
                        request.path.substr(resolve + 9));
}

ServerReply FakeHub::answer_huggingface_api(const ServerRequest& request, const std::string& rest) {
  for (const auto& [name, repo] : repos) {
    if (!rest.starts_with(name + "/")) continue;
    const std::string call = rest.substr(name.size() + 1);
    if (call == "revision/main" || call == "revision/v1" || call == "revision/" + repo.commit) {
      return json_reply(
          {{"id", name}, {"sha", repo.commit}, {"cardData", {{"license", repo.license}}}});
    }
    if (call.starts_with("revision/"))
      return error_reply(404, "RevisionNotFound", "Invalid rev id");
    if (call == "tree/" + repo.commit) return tree_page(request, repo);
  }
  return error_reply(401, "RepoNotFound", "Repository not found");
}

ServerReply FakeHub::tree_page(const ServerRequest& request, const FakeRepo& repo) const {
  const auto cursor = request.query.find("cursor");
  const std::size_t begin = cursor == request.query.end() ? 0 : std::stoul(cursor->second);
  Json page = Json::array();
  std::size_t index = 0;
  for (const auto& [path, real] : repo.files) {
    if (index++ < begin || page.size() == page_size) continue;
    const FakeFile& file = listed_file(repo, path, real);
    Json entry{{"type", "file"},
               {"path", path},
               {"size", file.content.size()},
               {"oid", git_oid(file.content)}};
    if (file.in_lfs) {
      entry["lfs"] = {
          {"oid", sha256_hex(file.content)}, {"size", file.content.size()}, {"pointerSize", 134}};
    }
    page.push_back(std::move(entry));
  }
  ServerReply reply = json_reply(page);
  if (begin + page_size < repo.files.size()) {
    // The original host, as a mirror that copies headers would have it: only the query may be used.
    reply.headers.emplace_back("Link", "<https://huggingface.example" + request.path +
                                           "?recursive=true&cursor=" +
                                           std::to_string(begin + page_size) + ">; rel=\"next\"");
  }
  return reply;
}

std::string FakeHub::denial(const ServerRequest& request, const FakeRepo& repo) const {
  if (repo.token.empty() || request.header("authorization") == "Bearer " + repo.token) return {};
  return repo.is_gated ? "GatedRepo" : "RepoNotFound";
}

ServerReply FakeHub::answer_resolve(const ServerRequest& request, const std::string& repo_name,
                                    const std::string& rest) {
  const auto repo = repos.find(repo_name);
  if (repo == repos.end()) return error_reply(401, "RepoNotFound", "Repository not found");
  if (const std::string code = denial(request, repo->second); !code.empty()) {
    return error_reply(code == "GatedRepo" ? 403 : 401, code, "Access is restricted");
  }
  const auto file = repo->second.files.find(rest.substr(std::min(rest.size(), rest.find('/') + 1)));
  if (file == repo->second.files.end()) return error_reply(404, "EntryNotFound", "Entry not found");
  const std::string& bytes = file->second.content;
  if (!file->second.in_lfs) {
    ServerReply reply = content(request, bytes, false);
    reply.headers.emplace_back("ETag", "W/\"" + git_oid(bytes) + "\"");
    reply.headers.emplace_back("X-Repo-Commit", repo->second.commit);
    return reply;
  }
  const FakeFile& listed = listed_file(repo->second, file->first, file->second);
  return {302,
          {{"Location", storage.url() + "/" + repo_name + "/" + file->first + "?signature=abc"},
           {"X-Linked-Etag", "\"" + sha256_hex(listed.content) + "\""},
           {"X-Linked-Size", std::to_string(listed.content.size())},
           {"X-Repo-Commit", repo->second.commit}},
          "redirecting"};
}

ServerReply FakeHub::answer_storage(const ServerRequest& request) {
  for (const auto& [name, repo] : repos) {
    const std::string prefix = "/" + name + "/";
    if (!request.path.starts_with(prefix)) continue;
    const auto file = repo.files.find(request.path.substr(prefix.size()));
    if (file != repo.files.end()) return content(request, file->second.content, false);
  }
  return {403, {}, "expired"};
}

ServerReply FakeHub::content(const ServerRequest& request, const std::string& bytes,
                             bool partial_is_200) const {
  const auto range = request.range();
  if (!range || !has_ranges) return {200, {}, bytes};
  if (range->first >= bytes.size()) return {416, {}, ""};
  const std::uint64_t last = std::min<std::uint64_t>(range->second, bytes.size() - 1);
  ServerReply reply{
      partial_is_200 ? 200 : 206, {}, bytes.substr(range->first, last - range->first + 1)};
  reply.headers.emplace_back("Content-Range", "bytes " + std::to_string(range->first) + "-" +
                                                  std::to_string(last) + "/" +
                                                  std::to_string(bytes.size()));
  return reply;
}

ServerReply FakeHub::modelscope_list(const FakeRepo& repo) const {
  Json files = Json::array({Json{{"Path", "sub"}, {"Type", "tree"}, {"Size", 0}, {"Sha256", ""}}});
  for (const auto& [path, real] : repo.files) {
    const FakeFile& file = listed_file(repo, path, real);
    files.push_back({{"Path", path},
                     {"Name", path},
                     {"Type", "blob"},
                     {"Size", file.content.size()},
                     {"Sha256", sha256_hex(file.content)},
                     {"IsLFS", file.in_lfs},
                     {"Revision", repo.commit},
                     {"CommittedDate", 1775179795}});
  }
  return json_reply(
      {{"Code", 200}, {"Success", true}, {"Message", "success"}, {"Data", {{"Files", files}}}});
}

ServerReply FakeHub::answer_modelscope(const ServerRequest& request, const std::string& rest) {
  const auto data = [](const Json& value) {
    return json_reply({{"Code", 200}, {"Success", true}, {"Data", value}});
  };
  for (const auto& [name, repo] : repos) {
    if (rest == name) return data({{"License", repo.license}, {"Name", name}});
    if (!rest.starts_with(name + "/")) continue;
    const std::string call = rest.substr(name.size() + 1);
    if (call == "revisions") {
      Json master{{"Revision", "master"}};
      if (repo.tells_commit) master["CommitId"] = repo.commit;
      return data(
          {{"RevisionMap", {{"Branches", Json::array({master})}, {"Tags", Json::array()}}}});
    }
    const std::string revision =
        request.query.count("Revision") ? request.query.at("Revision") : "";
    if (revision != "master" && revision != repo.commit) break;
    if (call == "repo/files") return modelscope_list(repo);
    if (call != "repo") break;
    if (!repo.token.empty() && request.header("cookie") != "m_session_id=" + repo.token) {
      return {403, {}, Json{{"Code", 10010205003}, {"Message", "no permission"}}.dump()};
    }
    const auto file = repo.files.find(request.query.at("FilePath"));
    // ModelScope honours a range and still says 200.
    if (file != repo.files.end()) return content(request, file->second.content, true);
  }
  return {404,
          {},
          Json{{"Code", 10010205001}, {"Message", "record not found"}, {"Success", false}}.dump()};
}

std::string git_oid(const std::string& content) {
  Digester digester(Digester::Algorithm::kSha1);
  digester.update("blob " + std::to_string(content.size()) + std::string(1, '\0'));
  digester.update(content);
  return digester.hex();
}

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937_64 generator(seed);
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = generator();
    for (std::size_t j = i; j < std::min(size, i + 8); ++j)
      out[j] = static_cast<char>(word >> (8 * (j - i)));
  }
  return out;
}

PullOptions fast_options(const FakeHub& hub, const fs::path& folder) {
  PullOptions options;
  options.settings = hub.settings(folder);
  options.network.first_delay = std::chrono::milliseconds(10);
  options.network.max_delay = std::chrono::milliseconds(50);
  options.network.max_retry_after = std::chrono::milliseconds(2500);
  options.network.connect_timeout = std::chrono::milliseconds(2000);
  options.network.stall_time = std::chrono::seconds(2);
  return options;
}

TemporaryFolder::TemporaryFolder() {
  // In memory where there is room: a store syncs every file that it writes, which a busy disk makes
  // slow.
  const fs::path memory = "/dev/shm";
  std::error_code error;
  const bool has_room = fs::space(memory, error).available > (1u << 30) && !error;
  std::string pattern =
      ((has_room ? memory : fs::temp_directory_path()) / "sampan-hub-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_text(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace sampan::testing
