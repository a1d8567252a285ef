#include "runtime/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace levit {
namespace {

constexpr int SPINS = 20000;  // of some nanoseconds each, before a thread goes to sleep
constexpr int TASKS_PER_THREAD = 4;
constexpr int YIELD_EVERY = 64;  // spins: where there are not enough cores, lets the thread run that is waited for

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: awake for a moment, then asleep.
template <class T>
T wait_for_change(const std::atomic<T>& value, T old) {
    for (int i = 0; i < SPINS; ++i) {
        const T now = value.load(std::memory_order_acquire);
        if (now != old) return now;
        pause();
        if (i % YIELD_EVERY == YIELD_EVERY - 1) std::this_thread::yield();
    }
    value.wait(old, std::memory_order_acquire);
    return value.load(std::memory_order_acquire);
}

struct Loop {
    ptrdiff_t tasks;
    void (*task)(void*, ptrdiff_t);
    void* context;
};

// A thread's share of a loop's tasks, from which others take when they are done with theirs.
struct alignas(64) Share {
    std::atomic<ptrdiff_t> next{0};
    ptrdiff_t end = 0;
};

class Team {
public:
    explicit Team(int threads) : shares_(threads) {
        try {
            for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
        } catch (const std::system_error& error) {
            dismiss();
            throw std::runtime_error("cannot start " + std::to_string(threads) + " threads: " + error.what());
        }
    }

    ~Team() { dismiss(); }

    void run(const Loop& loop) {
        loop_ = loop;
        const ptrdiff_t threads = static_cast<ptrdiff_t>(shares_.size());
        for (ptrdiff_t i = 0; i < threads; ++i) {
            shares_[i].next.store(loop.tasks * i / threads, std::memory_order_relaxed);
            shares_[i].end = loop.tasks * (i + 1) / threads;
        }
        working_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
        start();
        do_tasks(0);
        for (int left = working_.load(std::memory_order_acquire); left > 0;) left = wait_for_change(working_, left);
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }

private:
    void dismiss() {
        quitting_ = true;
        start();
        for (std::thread& worker : workers_) worker.join();
    }

    void start() {
        round_.fetch_add(1, std::memory_order_release);
        round_.notify_all();
    }

    void work(size_t me) {
        for (uint32_t seen = 0;;) {
            seen = wait_for_change(round_, seen);
            if (quitting_) return;
            do_tasks(me);
            if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) working_.notify_one();
        }
    }

    // The own share first. One operation after another is cut along the same rows or images, so a thread finds in its
    // caches what it has written there itself. Tasks handed out one by one, to whoever is free, are in better balance and
    // come from the wrong cache: docs/performance/machine.md has what that costs.
    void do_tasks(size_t me) {
        try {
            for (size_t k = 0; k < shares_.size(); ++k) {
                Share& share = shares_[(me + k) % shares_.size()];
                for (ptrdiff_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
                    loop_.task(loop_.context, i);
            }
        } catch (...) {  // no memory for scratch: run() throws it to its caller
            const std::lock_guard lock(error_lock_);
            error_ = std::current_exception();
        }
    }

    std::vector<Share> shares_;  // by thread; the first is the caller's
    std::vector<std::thread> workers_;
    Loop loop_{};
    bool quitting_ = false;
    std::exception_ptr error_;
    std::mutex error_lock_;
    alignas(64) std::atomic<uint32_t> round_{0};
    alignas(64) std::atomic<int> working_{0};
};

// The team and its size. `lock` is held while a loop runs.
struct Pool {
    std::mutex lock;
    std::atomic<int> threads{0};  // 0: not asked for yet. Kernels read it without the lock
    Team* team = nullptr;
};

// Never destroyed: workers may still wait on it when the process ends.
Pool* pool = new Pool;

int default_threads() {
    const char* text = std::getenv("LEVIT_REF_THREADS");
    if (text == nullptr) return available_cores();
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 1 || n > 4096)
        throw std::invalid_argument("LEVIT_REF_THREADS must be a number of threads from 1 to 4096, got '" +
                                    std::string(text) + "'");
    return static_cast<int>(n);
}

int threads_of(Pool& p) {
    int threads = p.threads;
    if (threads == 0) {
        const int wanted = default_threads();
        if (p.threads.compare_exchange_strong(threads, wanted)) threads = wanted;  // else somebody has just set it
    }
    return threads;
}

// A child of fork() has none of its parent's threads: it starts with a new team. The old one's memory is given up.
void forget_team_in_child() {
    const int threads = pool->threads;
    pool = new Pool;  // whose lock is free
    pool->threads = threads;
}

const int registered = pthread_atfork([] { pool->lock.lock(); }, [] { pool->lock.unlock(); }, forget_team_in_child);

thread_local bool in_loop = false;

}  // namespace

void run_tasks(ptrdiff_t tasks, void (*task)(void*, ptrdiff_t), void* context) {
    std::unique_lock<std::mutex> lock;
    if (!in_loop && tasks > 1) lock = std::unique_lock(pool->lock, std::try_to_lock);
    if (!lock.owns_lock() || threads_of(*pool) == 1) {
        for (ptrdiff_t i = 0; i < tasks; ++i) task(context, i);
        return;
    }
    if (pool->team == nullptr) pool->team = new Team(pool->threads);
    in_loop = true;
    try {
        pool->team->run({tasks, task, context});
    } catch (...) {
        in_loop = false;
        throw;
    }
    in_loop = false;
}

int num_threads() { return threads_of(*pool); }

void set_num_threads(int n) {
    if (n < 1 || n > 4096)
        throw std::invalid_argument("set_num_threads: n must be from 1 to 4096, got " + std::to_string(n));
    const std::lock_guard lock(pool->lock);
    if (n == pool->threads) return;
    delete pool->team;
    pool->team = nullptr;
    pool->threads = n;
}

ptrdiff_t tasks_wanted() { return num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads(); }

int available_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n > 0 ? static_cast<int>(n) : 1;
}

}  // namespace levit
