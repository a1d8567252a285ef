#include "runtime/buffers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "sanitizers.h"

namespace levit {
namespace {

constexpr size_t LINE = 64, HUGE_PAGE = size_t{1} << 21;
constexpr size_t SEGMENT = size_t{1} << 28;  // addresses asked of the system at a time; they take memory when touched

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

struct Block {
    size_t bytes;
    bool touched;  // the system has given it memory
};
using Blocks = std::map<char*, Block>;  // by address

struct Store {
    std::mutex lock;
    std::unordered_map<char*, size_t> in_use;
    Blocks free;  // neighbours of one kind are one block
    BufferBytes total{};
};

// Never destroyed: arrays may be freed after everything else, when the process ends.
Store& store = *new Store;

void add_free(char* begin, Block block) {
    if (block.bytes == 0) return;
    if (block.touched) store.total.kept += block.bytes;
    auto here = store.free.emplace(begin, block).first;
    const auto join_next = [](Blocks::iterator left) {
        const auto right = std::next(left);
        if (right == store.free.end() || left->first + left->second.bytes != right->first ||
            left->second.touched != right->second.touched)
            return;
        left->second.bytes += right->second.bytes;
        store.free.erase(right);
    };
    join_next(here);
    if (here != store.free.begin()) join_next(std::prev(here));
}

Block remove_free(Blocks::iterator at) {
    const Block block = at->second;
    if (block.touched) store.total.kept -= block.bytes;
    store.free.erase(at);
    return block;
}

void map_segment(size_t bytes) {
    bytes = round_up(std::max(bytes, SEGMENT), HUGE_PAGE) + HUGE_PAGE;  // huge pages begin at a multiple of their size
    void* all = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    const size_t before = round_up(reinterpret_cast<uintptr_t>(all), HUGE_PAGE) - reinterpret_cast<uintptr_t>(all);
    char* const begin = static_cast<char*>(all) + before;
#if defined(MADV_HUGEPAGE)
    madvise(begin, bytes - before, MADV_HUGEPAGE);  // advice: nothing is lost where it is not taken
#endif
    add_free(begin, {bytes - before, false});
}

// Of touched memory, where it fits at the lowest address.
char* take_touched(size_t bytes) {
    for (auto at = store.free.begin(); at != store.free.end(); ++at) {
        if (!at->second.touched || at->second.bytes < bytes) continue;
        char* const begin = at->first;
        add_free(begin + bytes, {remove_free(at).bytes - bytes, true});
        return begin;
    }
    return nullptr;
}

// Of untouched memory, and of the touched block that ends where it begins.
char* take_untouched(size_t bytes) {
    for (auto at = store.free.begin(); at != store.free.end(); ++at) {
        if (at->second.touched) continue;
        auto first = at;
        size_t touched = 0;
        if (at != store.free.begin()) {
            const auto before = std::prev(at);
            if (before->first + before->second.bytes == at->first) first = before, touched = before->second.bytes;
        }
        if (touched + at->second.bytes < bytes) continue;
        char* const begin = first->first;
        const size_t rest = touched + at->second.bytes - bytes;
        remove_free(at);
        if (touched > 0) remove_free(first);
        add_free(begin + bytes, {rest, false});
        return begin;
    }
    return nullptr;
}

// Gives the memory of free blocks back to the system, the highest addresses first, until this much is kept.
void keep_at_most(size_t bytes) {
    static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (auto at = store.free.end(); at != store.free.begin() && store.total.kept > bytes;) {
        --at;
        if (!at->second.touched) continue;
        char* const begin = at->first;
        const Block block = remove_free(at);
        const uintptr_t start = reinterpret_cast<uintptr_t>(begin);
        const uintptr_t from = round_up(start, page), to = (start + block.bytes) / page * page;  // whole pages alone
#if defined(__linux__)
        constexpr int advice = MADV_DONTNEED;
#else
        constexpr int advice = MADV_FREE;
#endif
        if (from < to) madvise(begin + (from - start), to - from, advice);
        add_free(begin, {block.bytes, false});
        at = store.free.upper_bound(begin);
    }
}

char* allocate(size_t bytes) {
    if (LEVIT_WATCHED) {
        void* memory = nullptr;
        if (posix_memalign(&memory, LINE, bytes) != 0) throw std::bad_alloc();
        return static_cast<char*>(memory);
    }
    if (char* memory = take_touched(bytes)) return memory;
    if (char* memory = take_untouched(bytes)) return memory;
    map_segment(bytes);
    return take_untouched(bytes);
}

void deallocate(char* memory, size_t bytes) {
    if (LEVIT_WATCHED)
        std::free(memory);
    else
        add_free(memory, {bytes, true});
}

}  // namespace

void* take_buffer(size_t bytes) {
    if (bytes > SIZE_MAX / 2) throw std::bad_alloc();  // room to round up
    bytes = std::max<size_t>(bytes, 1);
    if (!LEVIT_WATCHED) bytes = round_up(bytes, LINE);
    const std::lock_guard guard(store.lock);
    BufferBytes& total = store.total;
    char* const memory = allocate(bytes);
    store.in_use.emplace(memory, bytes);
    total.in_use += bytes;
    total.most_in_use = std::max(total.most_in_use, total.in_use);
    keep_at_most(total.most_in_use + total.most_in_use / 8 - total.in_use);
    return memory;
}

void return_buffer(void* buffer) {
    const std::lock_guard guard(store.lock);
    const auto entry = store.in_use.find(static_cast<char*>(buffer));
    const size_t bytes = entry->second;
    store.in_use.erase(entry);
    store.total.in_use -= bytes;
    deallocate(static_cast<char*>(buffer), bytes);
}

BufferBytes buffer_bytes() {
    const std::lock_guard guard(store.lock);
    return store.total;
}

void release_buffers() {
    const std::lock_guard guard(store.lock);
    keep_at_most(0);
    store.total.most_in_use = store.total.in_use;
}

}  // namespace levit
