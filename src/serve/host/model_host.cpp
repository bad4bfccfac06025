#include "serve/host/model_host.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "engine/kv_cache.h"
#include "models/checkpoint.h"
#include "serve/host/pooling_run.h"
#include "serve/host/prompt.h"

namespace sampan {
namespace {

// Tokens of cache that are planned for beyond one whole context, where memory allows.
constexpr std::int64_t kPlannedCacheTokens = 131072;

std::int64_t parameter_count(const TensorFiles& files) {
  std::int64_t count = 0;
  for (const TensorDescriptor& tensor : files.tensors()) {
    std::int64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements *= size;
    count += elements;
  }
  return count;
}

// The type that most of the weights' bytes have.
std::string main_type(const Checkpoint& checkpoint) {
  std::map<DType, std::uint64_t> bytes;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors())
    bytes[tensor.dtype] += tensor.bytes;
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? "" : std::string(dtype_name(most->first));
}

std::int64_t file_time(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  if (error) return 0;
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::file_clock::to_sys(time).time_since_epoch())
      .count();
}

std::string gigabytes(std::int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9);
}

// The requests of one call.
struct InferenceGroup : Inference {
  void cancel() override {
    for (const auto& run : runs) run->cancel();
  }
  void fail(const Error& error) {
    for (const auto& run : runs) run->fail(error);
  }

  std::vector<std::shared_ptr<InferenceRun>> runs;  // set once, before anyone else sees them
};

}  // namespace

std::vector<std::int32_t> end_ids(const ModelConfig& config, const GenerationDefaults& defaults,
                                  const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids = config.eos_ids;
  ids.insert(ids.end(), defaults.eos_ids.begin(), defaults.eos_ids.end());
  if (tokenizer.eos_id()) ids.push_back(*tokenizer.eos_id());
  if (tokenizer.eot_id()) ids.push_back(*tokenizer.eot_id());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// A model under its name, with what the host knows of it. Guarded by the host's mutex, but for
// `text`.
struct ModelHost::Served {
  ModelSpec spec;
  ServedModelInfo info;
  LoadPlan plan;
  std::mutex text_mutex;
  std::shared_ptr<const ModelText> text;

  std::unique_ptr<LoadedModel> loaded;
  bool is_moving = false;  // being loaded or unloaded
  int active = 0;          // requests that use it
  std::list<Visit> waiting;
  Clock::time_point first_waiting{};
  Clock::time_point last_use{};
  std::chrono::milliseconds keep_alive{-1};
  bool is_retired = false;  // no longer served; here until those who use it are done

  bool is_unused() const { return !loaded && !is_moving && waiting.empty(); }
  bool is_idle() const { return loaded && !is_moving && active == 0 && waiting.empty(); }
  std::optional<Clock::time_point> expiry() const {
    if (!is_idle() || keep_alive.count() < 0) return std::nullopt;
    return last_use + keep_alive;
  }
  bool is_expired(Clock::time_point now) const {
    const auto when = expiry();
    return when && *when <= now;
  }
};

ModelHost::ModelHost(const HostOptions& options, std::vector<ModelSpec> specs)
    : options_(options),
      memory_(options.memory > 0 ? options.memory : available_memory() / 10 * 9),
      pool_(options.threads) {
  for (const ModelSpec& spec : specs) served_.push_back(open(spec));
  thread_ = std::thread([this] { work(); });
}

ModelHost::~ModelHost() {
  {
    const Lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (const auto& served : served_) {
    for (Visit& visit : served->waiting) visit.fail(OverloadedError("the server is shutting down"));
    served->waiting.clear();
    served->loaded.reset();  // tells those that run
  }
}

LoadPlan ModelHost::plan_of(const ModelSpec& spec, const Checkpoint& checkpoint) const {
  const ModelConfig& config = checkpoint.config();
  LoadPlan plan;
  plan.kv_dtype = spec.kv_dtype.value_or(default_kv_dtype(checkpoint));
  const MemoryPlan memory = plan_memory(checkpoint, plan.kv_dtype, options_.engine.max_step_tokens);
  plan.workspace_bytes = memory.workspace_bytes;
  const std::int64_t wanted =
      kv_cache_bytes(config, plan.kv_dtype, std::max(config.context_length, kPlannedCacheTokens));
  plan.kv_bytes = spec.kv_bytes.value_or(std::min(memory_ / 4, wanted));
  plan.kv_bytes = std::max(plan.kv_bytes, kv_block_bytes(config, plan.kv_dtype));
  plan.weight_bytes = memory.mapped_weight_bytes;
  const std::int64_t room = memory_ - plan.workspace_bytes - plan.kv_bytes;
  if (plan.weight_bytes > room && memory.packed_expert_bytes > 0) {  // experts stay in the file
    plan.weight_bytes = std::max(room, plan.weight_bytes - memory.packed_expert_bytes);
  }
  if (plan.total() > memory_) {
    fail(ErrorCode::kLimit,
         "{}: {} of weights, {} of cache and {} of workspace are more than the {} that models may "
         "take",
         printable(spec.name), gigabytes(plan.weight_bytes), gigabytes(plan.kv_bytes),
         gigabytes(plan.workspace_bytes), gigabytes(memory_));
  }
  return plan;
}

std::shared_ptr<ModelHost::Served> ModelHost::open(const ModelSpec& spec) const {
  const Checkpoint checkpoint(spec.path);
  auto served = std::make_shared<Served>();
  served->spec = spec;
  served->keep_alive = spec.keep_alive.value_or(options_.keep_alive);
  served->plan = plan_of(spec, checkpoint);
  const ModelConfig& config = checkpoint.config();
  ServedModelInfo& info = served->info;
  info.name = spec.name;
  info.family = config.family;
  info.quantization = main_type(checkpoint);
  info.format = checkpoint.files().gguf() != nullptr ? "gguf" : "safetensors";
  info.parameters = parameter_count(checkpoint.files());
  info.bytes = static_cast<std::int64_t>(checkpoint.files().total_bytes());
  info.context_length = std::min(
      config.context_length,
      served->plan.kv_bytes / kv_block_bytes(config, served->plan.kv_dtype) * kKvPagePositions);
  info.embedding_length = config.hidden_size;
  info.created = file_time(spec.path);
  info.description = fmt::format("{}, {:.2f} billion parameters, {}", config.family,
                                 static_cast<double>(info.parameters) * 1e-9, info.quantization);
  return served;
}

// Null where no served model goes by the name.
std::shared_ptr<ModelHost::Served> ModelHost::look_up(const std::string& name) const {
  const Lock lock(mutex_);
  const std::string bare = name.ends_with(":latest") ? name.substr(0, name.size() - 7) : name;
  for (const auto& served : served_) {
    const std::vector<std::string>& aliases = served->spec.aliases;
    if (served->is_retired) continue;
    if (name.empty() || served->spec.name == name || served->spec.name == bare ||
        std::find(aliases.begin(), aliases.end(), name) != aliases.end() ||
        std::find(aliases.begin(), aliases.end(), bare) != aliases.end()) {
      return served;
    }
  }
  return nullptr;
}

std::shared_ptr<ModelHost::Served> ModelHost::find(const std::string& name) const {
  if (auto served = look_up(name)) return served;
  fail(ErrorCode::kNotFound, "The model `{}` does not exist.", printable(name, 200));
}

std::optional<std::string> ModelHost::served_name(const std::string& name) const {
  const std::shared_ptr<Served> served = look_up(name);
  if (!served) return std::nullopt;
  return served->info.name;
}

// Has the visit begin at once when the model is there, else once it is loaded. It counts as a use
// until leave().
void ModelHost::visit(const std::shared_ptr<Served>& served, Visit visit) {
  const LoadedModel* model = nullptr;
  bool is_gone = false;
  {
    const Lock lock(mutex_);
    if (served->is_retired && !served->loaded) {
      is_gone = true;
    } else if (served->loaded && !served->is_moving && served->waiting.empty()) {
      ++served->active;
      model = served->loaded.get();
    } else {
      if (served->waiting.empty()) served->first_waiting = Clock::now();
      served->waiting.push_back(std::move(visit));
    }
  }
  if (is_gone) {
    visit.fail(Error(ErrorCode::kNotFound, "The model is no longer served."));
  } else if (model != nullptr) {
    visit.begin(*model, 0);
  } else {
    changed_.notify_all();
  }
}

void ModelHost::leave(const std::shared_ptr<Served>& served) {
  {
    const Lock lock(mutex_);
    --served->active;
    served->last_use = Clock::now();
  }
  changed_.notify_all();
}

// The host's thread: loads what is asked for, unloads what has been idle for long.
void ModelHost::work() {
  Lock lock(mutex_);
  while (!is_stopping_) {
    if (unload_expired(lock) || load_next(lock)) continue;
    if (const auto expiry = next_expiry()) {
      changed_.wait_until(lock, *expiry);
    } else {
      changed_.wait(lock);
    }
  }
}

std::optional<ModelHost::Clock::time_point> ModelHost::next_expiry() const {
  std::optional<Clock::time_point> next;
  for (const auto& served : served_) {
    const auto expiry = served->expiry();
    if (expiry && (!next || *expiry < *next)) next = expiry;
  }
  return next;
}

bool ModelHost::unload_expired(Lock& lock) {
  const Clock::time_point now = Clock::now();
  for (const auto& served : std::vector(served_)) {
    if (!served->is_expired(now)) continue;
    unload(*served, lock);
    std::erase_if(served_,
                  [](const auto& other) { return other->is_retired && other->is_unused(); });
    return true;
  }
  return false;
}

// Joining the engine's thread and giving the memory back take a while: the lock is open meanwhile.
void ModelHost::unload(Served& served, Lock& lock) {
  served.is_moving = true;
  std::unique_ptr<LoadedModel> model = std::move(served.loaded);
  lock.unlock();
  model.reset();
  write_log(options_.log, LogLevel::kInfo, "model unloaded", {{"model", served.info.name}});
  lock.lock();
  served.is_moving = false;
}

std::int64_t ModelHost::loaded_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& served : served_) bytes += served->loaded ? served->loaded->bytes : 0;
  return bytes;
}

// True when the model's plan fits beside those that are loaded. Unloads the one that was idle the
// longest if not; false when none is.
bool ModelHost::make_room(const Served& wanted, Lock& lock) {
  while (loaded_bytes() + wanted.plan.total() > memory_) {
    std::shared_ptr<Served> oldest;
    for (const auto& served : served_) {
      if (served->is_idle() && (!oldest || served->last_use < oldest->last_use)) oldest = served;
    }
    if (!oldest) return false;
    unload(*oldest, lock);
  }
  return true;
}

bool ModelHost::load_next(Lock& lock) {
  std::shared_ptr<Served> next;
  for (const auto& served : served_) {
    if (served->waiting.empty()) continue;
    if (served->loaded) {
      next = served;  // came back while others were looked at
      break;
    }
    if (!next || served->first_waiting < next->first_waiting) next = served;
  }
  if (!next || (!next->loaded && !make_room(*next, lock))) return false;
  double seconds = 0;
  std::optional<LoadError> error;
  if (!next->loaded) {
    next->is_moving = true;
    lock.unlock();
    const Clock::time_point begin = Clock::now();
    std::unique_ptr<LoadedModel> model;
    try {
      model = load_now(*next);
    } catch (const std::exception& failure) {
      error.emplace(next->spec.name, failure.what());
    }
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    log_load(*next, seconds, error ? &*error : nullptr);
    lock.lock();
    next->is_moving = false;
    next->loaded = std::move(model);
    next->last_use = Clock::now();
  }
  std::list<Visit> visits = std::move(next->waiting);
  next->waiting.clear();
  if (!error) next->active += static_cast<int>(visits.size());
  const LoadedModel* const model = next->loaded.get();
  lock.unlock();
  for (Visit& visit : visits) {
    if (error)
      visit.fail(*error);
    else
      visit.begin(*model, seconds);
  }
  lock.lock();
  return true;
}

void ModelHost::log_load(const Served& served, double seconds, const LoadError* error) const {
  LogFields fields = {{"model", served.info.name}, {"seconds", seconds}};
  if (error) {
    fields.emplace_back("error", error->what());
    write_log(options_.log, LogLevel::kError, "model could not be loaded", fields);
  } else {
    fields.emplace_back("bytes", served.plan.total());
    write_log(options_.log, LogLevel::kInfo, "model loaded", fields);
  }
}

std::unique_ptr<LoadedModel> ModelHost::load_now(const Served& served) {
  auto loaded = std::make_unique<LoadedModel>();
  loaded->text = text_of(const_cast<Served&>(served));
  loaded->defaults = generation_defaults(served.spec.path);
  LoadOptions load;
  load.memory = served.plan.total();
  load.bf16_products = options_.bf16_products;
  {
    const ComputeTurns::Turn turn(*turns_);  // weights are repacked on the pool
    loaded->model = load_model(served.spec.path, pool_, load);
  }
  loaded->end_ids = end_ids(loaded->model->config(), loaded->defaults, *loaded->text->tokenizer);
  EngineOptions engine = options_.engine;
  engine.kv_dtype = served.plan.kv_dtype;
  engine.kv_bytes = served.plan.kv_bytes;
  loaded->engine = std::make_unique<Engine>(*loaded->model, pool_, turns_, engine);
  loaded->bytes = served.plan.total();
  return loaded;
}

void ModelHost::load(const std::string& name) {
  const std::shared_ptr<Served> served = find(name);
  std::mutex mutex;
  std::condition_variable done;
  bool is_done = false;
  std::optional<Error> failure;
  const auto end = [&](const Error* error) {
    const std::lock_guard lock(mutex);
    if (error != nullptr) failure = *error;
    is_done = true;
    done.notify_all();
  };
  visit(served, {[&](const LoadedModel&, double) {
                   leave(served);
                   end(nullptr);
                 },
                 [&](const Error& error) { end(&error); }});
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return is_done; });
  if (failure) throw Error(*failure);
}

void ModelHost::replace_models(std::vector<ModelSpec> specs) {
  std::vector<std::shared_ptr<Served>> next;
  for (const ModelSpec& spec : specs) {
    std::shared_ptr<Served> kept;
    {
      const Lock lock(mutex_);
      for (const auto& served : served_) {
        if (served->spec.name == spec.name && served->spec.path == spec.path &&
            served->spec.kv_bytes == spec.kv_bytes && served->spec.kv_dtype == spec.kv_dtype) {
          kept = served;
        }
      }
    }
    next.push_back(kept ? kept : open(spec));
  }
  {
    const Lock lock(mutex_);
    std::vector<std::shared_ptr<Served>> before = next;
    before.swap(served_);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      next[i]->spec.aliases = specs[i].aliases;
      next[i]->keep_alive = specs[i].keep_alive.value_or(options_.keep_alive);
    }
    // Those that are no longer named stay until nobody uses them; they are out of reach for new
    // requests.
    for (const auto& served : before) {
      if (std::find(next.begin(), next.end(), served) != next.end()) continue;
      served->is_retired = true;
      served->keep_alive = std::chrono::milliseconds(0);
      if (!served->is_unused()) served_.push_back(served);
    }
  }
  changed_.notify_all();
}

LoadPlan ModelHost::plan(const std::string& name) const { return find(name)->plan; }

std::shared_ptr<const ModelText> ModelHost::text_of(Served& served) const {
  const std::lock_guard lock(served.text_mutex);
  if (served.text) return served.text;
  try {
    served.text = std::make_shared<const ModelText>(load_model_text(served.spec.path));
  } catch (const Error& failure) {
    throw LoadError(served.spec.name, failure.what());
  }
  return served.text;
}

std::vector<ModelHost::ModelMetrics> ModelHost::metrics() const {
  const Lock lock(mutex_);
  std::vector<ModelMetrics> all;
  for (const auto& served : served_) {
    all.push_back(
        {served->spec.name, served->loaded ? served->loaded->engine->metrics() : EngineMetrics{}});
  }
  return all;
}

ServedModelInfo ModelHost::info_of(const Served& served) const {
  ServedModelInfo info = served.info;
  // The host's thread takes an expired model down as soon as it can, often only just after whoever
  // had it expire has been answered: for those who ask it is gone.
  info.is_loaded = served.loaded != nullptr && !served.is_expired(Clock::now());
  if (info.is_loaded) {
    info.loaded_bytes = served.loaded->bytes;
    info.context_length = served.loaded->engine->context_length();
    if (served.keep_alive.count() >= 0) {
      const Clock::time_point base = served.active > 0 ? Clock::now() : served.last_use;
      info.unloads_at = std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(
                            base + served.keep_alive - Clock::now());
    }
  }
  return info;
}

std::vector<ServedModelInfo> ModelHost::models() const {
  const Lock lock(mutex_);
  std::vector<ServedModelInfo> all;
  for (const auto& served : served_) {
    if (!served->is_retired) all.push_back(info_of(*served));
  }
  return all;
}

ServedModelInfo ModelHost::model(const std::string& name) const {
  const std::shared_ptr<Served> served = find(name);
  const std::shared_ptr<const ModelText> text = text_of(*served);
  const Lock lock(mutex_);
  ServedModelInfo info = info_of(*served);
  if (text->chat_template) info.chat_template = text->chat_template->source();
  const Tokenizer& tokenizer = *text->tokenizer;
  if (tokenizer.bos_id()) info.bos_token = tokenizer.token_bytes(*tokenizer.bos_id());
  if (tokenizer.eos_id()) info.eos_token = tokenizer.token_bytes(*tokenizer.eos_id());
  info.vocabulary = static_cast<std::int64_t>(tokenizer.vocab_size());
  return info;
}

std::shared_ptr<Inference> ModelHost::start_all(std::vector<InferencePart> parts) {
  SAMPAN_CHECK(!parts.empty());
  const std::string name = parts.front().request.model;
  std::shared_ptr<Served> served;
  std::optional<Error> unknown;
  try {
    served = find(name);
  } catch (const Error& error) {
    unknown = error;
  }
  const auto group = std::make_shared<InferenceGroup>();
  for (InferencePart& part : parts) {
    if (served) part.request.model = served->spec.name;
    group->runs.push_back(
        std::make_shared<InferenceRun>(std::move(part.request), std::move(part.sink)));
  }
  if (unknown) {
    group->fail(*unknown);
    return group;
  }
  visit(served, {[this, served, group](const LoadedModel& model, double seconds) {
                   // The last run that is over leaves the model.
                   const std::shared_ptr<void> use(nullptr,
                                                   [this, served](void*) { leave(served); });
                   begin_together(group->runs, model, seconds, use);
                 },
                 [group](const Error& error) { group->fail(error); }});
  return group;
}

std::shared_ptr<Inference> ModelHost::pool(std::vector<PoolingRequest> requests, PoolingDone done) {
  const auto run = std::make_shared<PoolingRun>(std::move(requests), std::move(done));
  try {
    const std::shared_ptr<Served> served = find(run->model());
    visit(served, {[this, served, run](const LoadedModel& model, double) {
                     run->begin(model, [this, served] { leave(served); });
                   },
                   [run](const Error& error) { run->fail(error); }});
  } catch (const Error& error) {
    run->fail(error);
  }
  return run;
}

PromptInfo ModelHost::tokenize(const std::string& model,
                               const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) {
  const std::shared_ptr<Served> served = find(model);
  PreparedPrompt prepared = prepare_prompt(*text_of(*served), prompt);
  return {served->info.name, std::move(prepared.ids), served->info.context_length,
          prepared.opens_reasoning};
}

std::string ModelHost::detokenize(const std::string& model, const std::vector<std::int32_t>& ids,
                                  bool skip_special) {
  return text_of(*find(model))->tokenizer->decode(ids, skip_special);
}

std::string ModelHost::token_bytes(const std::string& model, std::int32_t id) {
  return std::string(text_of(*find(model))->tokenizer->token_bytes(id));
}

std::optional<std::int32_t> ModelHost::token_id(const std::string& model,
                                                const std::string& token) {
  return text_of(*find(model))->tokenizer->token_id(token);
}

void ModelHost::keep_alive(const std::string& model, std::chrono::milliseconds duration,
                           bool load) {
  const std::shared_ptr<Served> served = find(model);
  {
    const Lock lock(mutex_);
    served->keep_alive = duration;
  }
  changed_.notify_all();
  if (load)
    visit(served,
          {[this, served](const LoadedModel&, double) { leave(served); }, [](const Error&) {}});
}

}  // namespace sampan
