#include "runtime/buffers.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace levit {
namespace {

constexpr size_t HUGE_PAGE = size_t{1} << 21;

struct Kept {
    void* memory;
    size_t bytes;
};

struct Store {
    std::mutex lock;
    std::unordered_map<void*, size_t> in_use;
    std::vector<Kept> kept;  // the longest kept first
    BufferBytes total{};
};

// Never destroyed: arrays may be freed after everything else, when the process ends.
Store& store = *new Store;

// Sizes are rounded up by an eighth at most, so that results of nearly the same size share memory.
size_t rounded(size_t bytes) {
    size_t step = 64;
    while (step * 16 <= bytes) step *= 2;
    return (bytes + step - 1) / step * step;
}

void* allocate(size_t bytes) {
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);  // advice: nothing is lost where it is not taken
#endif
    return memory;
}

void give_back(size_t bytes) {  // of what is kept, at least so much, the longest kept first
    size_t count = 0;
    for (; count < store.kept.size() && bytes > 0; ++count) {
        const Kept& old = store.kept[count];
        std::free(old.memory);
        store.total.kept -= old.bytes;
        bytes -= std::min(bytes, old.bytes);
    }
    store.kept.erase(store.kept.begin(), store.kept.begin() + static_cast<ptrdiff_t>(count));
}

}  // namespace

float* take_buffer(size_t floats) {
    const size_t bytes = rounded(std::max<size_t>(floats, 1) * sizeof(float));
    const std::lock_guard guard(store.lock);
    BufferBytes& total = store.total;
    void* memory = nullptr;
    // The latest one: the likeliest to be in the cache still.
    const auto found = std::find_if(store.kept.rbegin(), store.kept.rend(), [&](const Kept& k) { return k.bytes == bytes; });
    if (found != store.kept.rend()) {
        memory = found->memory;
        total.kept -= bytes;
        store.kept.erase(std::next(found).base());
    } else {
        const size_t most = std::max(total.most_in_use, total.in_use + bytes), limit = most + most / 8;
        const size_t held = total.in_use + total.kept + bytes;
        if (held > limit) give_back(held - limit);
        memory = allocate(bytes);
    }
    store.in_use.emplace(memory, bytes);
    total.in_use += bytes;
    total.most_in_use = std::max(total.most_in_use, total.in_use);
    return static_cast<float*>(memory);
}

void return_buffer(float* buffer) {
    const std::lock_guard guard(store.lock);
    const auto entry = store.in_use.find(buffer);
    const size_t bytes = entry->second;
    store.in_use.erase(entry);
    store.total.in_use -= bytes;
#if defined(__SANITIZE_ADDRESS__)
    std::free(buffer);  // so that a use of it is found
#else
    store.kept.push_back({buffer, bytes});
    store.total.kept += bytes;
#endif
}

BufferBytes buffer_bytes() {
    const std::lock_guard guard(store.lock);
    return store.total;
}

void release_buffers() {
    const std::lock_guard guard(store.lock);
    give_back(store.total.kept);
    store.total.most_in_use = store.total.in_use;
}

}  // namespace levit
