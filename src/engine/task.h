#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/generation.h"
#include "engine/kv_cache.h"
#include "engine/prefix_cache.h"
#include "engine/sampler.h"

namespace sampan {

// A request on its way through the engine. Only the engine's thread touches it.
struct Task {
  using Clock = std::chrono::steady_clock;

  Task(std::uint64_t number, GenerationRequest r, std::shared_ptr<GenerationSink> s, KvPool& pool)
      : id(number),
        request(std::move(r)),
        sink(std::move(s)),
        sampler(request.sampling),
        ids(request.prompt),
        cache(pool) {}

  std::uint64_t id;  // in the order of arrival
  GenerationRequest request;
  std::shared_ptr<GenerationSink> sink;
  Sampler sampler;

  std::vector<std::int32_t>
      ids;  // the prompt and what was generated; the cache has the first cache.length() of them
  KvCache cache;
  bool uses_prefixes = false;             // blocks are looked up and left for others
  PrefixCache::NodeId root = 0;           // of its tenant
  std::vector<PrefixCache::NodeId> path;  // nodes of the cache's first blocks

  PromptReport report;  // filled while the prompt is read
  bool prompt_is_reported = false;
  GenerationStats stats;
  Clock::time_point arrival = Clock::now();
  Clock::time_point first_step{};  // of its first computation
  Clock::time_point first_token{};

  std::int64_t prompt_length() const { return static_cast<std::int64_t>(request.prompt.size()); }
  std::int64_t length() const { return static_cast<std::int64_t>(ids.size()); }
  // Ids that are not in the cache yet; at least one while it runs.
  std::int64_t pending() const { return length() - cache.length(); }
  // It writes: what is pending is the token that was drawn last.
  bool is_decoding() const { return prompt_is_reported && pending() == 1; }
  std::span<const std::int32_t> generated() const {
    return std::span(ids).subspan(request.prompt.size());
  }
};

}  // namespace sampan
