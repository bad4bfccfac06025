#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace sampan {

// Bytes that this process can still take without swapping: what the system has available, or less where a control group of its
// or above it (of either version) sets a limit; the files that the group keeps cached count as available, since they give way. A huge number
// where nothing tells. root: where /proc and /sys lie (tests give another).
std::int64_t available_memory(const std::filesystem::path& root = "/");

// Asks the system to read mapped bytes from the disk now, without waiting for it.
void read_ahead(std::span<const std::byte> mapped);

// Maps bytes of a file that will be read now, all pages in one go where the system can do that (Linux 5.14): one by one they cost a
// fault each. Those that are not in memory are read from the disk first.
void map_pages(std::span<const std::byte> mapped);

// Tells the system that mapped bytes are not needed in memory for now; they are read again when touched.
void release_mapped(std::span<const std::byte> mapped);

}  // namespace sampan
