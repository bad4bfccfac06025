#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/thread_pool.h"
#include "serve/host/inference_run.h"

namespace sampan {

// A model to be served.
struct ModelSpec {
  std::string name;  // by which requests ask for it
  std::filesystem::path path;
  std::vector<std::string> aliases;
  std::optional<DType> kv_dtype;         // nothing: what keeps the weights' precision
  std::optional<std::int64_t> kv_bytes;  // nothing: the host's plan
  std::optional<std::chrono::milliseconds>
      keep_alive;  // after its last use; negative: for ever; nothing: the host's
};

struct HostOptions {
  int threads = 1;
  std::int64_t memory =
      0;  // bytes that all loaded models may take; 0: nine tenths of what the system has available
  std::chrono::milliseconds keep_alive{-1};
  Bf16Products bf16_products = Bf16Products::kExact;  // of all models
  EngineOptions engine;                               // kv_dtype and kv_bytes are each model's
  LogWriter log;  // is told of models that are loaded, unloaded, or could not be loaded
};

// What a model takes when it is loaded, known before.
struct LoadPlan {
  std::int64_t weight_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t workspace_bytes = 0;
  DType kv_dtype = DType::kF16;
  std::int64_t total() const { return weight_bytes + kv_bytes + workspace_bytes; }
};

// The models of one process: loaded when they are first asked for, unloaded when they have been
// idle for long or others need the memory; what is running is never cut off. One thread of its own
// loads and unloads; all models compute on one pool, in turns.
class ModelHost : public InferenceService {
 public:
  // Opens each model's files to see that they can be served; loads nothing. Throws Error.
  ModelHost(const HostOptions& options, std::vector<ModelSpec> specs);
  ~ModelHost() override;  // running requests end with OverloadedError

  // Loads a model now and waits for it. Throws Error.
  void load(const std::string& name);
  // Serves these models from now on; those that are loaded and still named stay. Throws Error and
  // changes nothing.
  void replace_models(std::vector<ModelSpec> specs);
  LoadPlan plan(const std::string& name) const;
  std::int64_t memory() const { return memory_; }

  // What the engine of a loaded model counts, and since the start for those that were unloaded.
  struct ModelMetrics {
    std::string name;
    EngineMetrics engine;
  };
  std::vector<ModelMetrics> metrics() const;

  std::vector<ServedModelInfo> models() const override;
  ServedModelInfo model(const std::string& name) const override;
  std::optional<std::string> served_name(const std::string& name) const override;
  std::shared_ptr<Inference> start_all(std::vector<InferencePart> parts) override;
  std::shared_ptr<Inference> pool(std::vector<PoolingRequest> requests, PoolingDone done) override;
  PromptInfo tokenize(const std::string& model,
                      const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) override;
  std::string detokenize(const std::string& model, const std::vector<std::int32_t>& ids,
                         bool skip_special) override;
  std::string token_bytes(const std::string& model, std::int32_t id) override;
  std::optional<std::int32_t> token_id(const std::string& model, const std::string& token) override;
  void keep_alive(const std::string& model, std::chrono::milliseconds duration, bool load) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Served;
  using Lock = std::unique_lock<std::mutex>;
  // What a request does with its model once it is there; or with the error that kept it from being
  // loaded.
  struct Visit {
    std::function<void(const LoadedModel&, double load_seconds)> begin;
    std::function<void(const Error&)> fail;
  };

  std::shared_ptr<Served> open(const ModelSpec& spec) const;
  std::shared_ptr<Served> look_up(const std::string& name) const;
  std::shared_ptr<Served> find(const std::string& name) const;
  void visit(const std::shared_ptr<Served>& served, Visit visit);
  void leave(const std::shared_ptr<Served>& served);
  void work();
  bool unload_expired(Lock& lock);
  bool load_next(Lock& lock);
  bool make_room(const Served& served, Lock& lock);
  void unload(Served& served, Lock& lock);
  std::unique_ptr<LoadedModel> load_now(const Served& served);
  void log_load(const Served& served, double seconds, const LoadError* error) const;
  std::optional<Clock::time_point> next_expiry() const;
  std::int64_t loaded_bytes() const;
  std::shared_ptr<const ModelText> text_of(Served& served) const;
  ServedModelInfo info_of(const Served& served) const;
  LoadPlan plan_of(const ModelSpec& spec, const Checkpoint& checkpoint) const;

  HostOptions options_;
  std::int64_t memory_;
  ThreadPool pool_;
  std::shared_ptr<ComputeTurns> turns_ = std::make_shared<ComputeTurns>();

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Served>> served_;
  bool is_stopping_ = false;

  std::thread thread_;  // the last member: it uses all others
};

}  // namespace sampan
