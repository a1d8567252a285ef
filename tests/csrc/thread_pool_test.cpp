// The thread pool, scratch memory and buffers, without Python around them: so ThreadSanitizer can watch every line that
// runs, and a race that a plain run sees once in a million is found every time. `.ci/run` builds this program plain, with
// ThreadSanitizer, and with AddressSanitizer.
#include "runtime/thread_pool.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "runtime/buffers.h"
#include "runtime/scratch.h"
#include "sanitizers.h"

namespace {

using namespace levit;

// The sum of the squares below n, one task each. The results are plain memory: that the caller may read what the
// workers wrote is part of what is tested.
ptrdiff_t sum_of_squares(ptrdiff_t n) {
    std::vector<ptrdiff_t> squares(n, -1);
    auto task = [&](ptrdiff_t i) {
        CHECK(squares[i] == -1);  // nobody has done it before
        squares[i] = i * i;
    };
    parallel_for(n, task);
    ptrdiff_t sum = 0;
    for (const ptrdiff_t square : squares) sum += square;
    return sum;
}

ptrdiff_t expected(ptrdiff_t n) { return (n - 1) * n * (2 * n - 1) / 6; }

// f(0) .. f(callers - 1), each in a thread that is none of the team's: several Python threads at once.
template <class F>
void call_at_once(int callers, F f) {
    std::vector<std::thread> threads;
    for (int i = 0; i < callers; ++i) threads.emplace_back(f, i);
    for (std::thread& thread : threads) thread.join();
}

// --- tests -----------------------------------------------------------------------------------------------------------

void tasks_are_wanted_for_every_thread() {
    set_num_threads(1);
    CHECK(tasks_wanted() == 1);
    set_num_threads(3);
    CHECK(tasks_wanted() >= 3 && tasks_wanted() % 3 == 0);
}

void every_task_runs_once() {
    for (int threads = 1; threads <= 4; ++threads) {
        set_num_threads(threads);
        CHECK(num_threads() == threads);
        for (int round = 0; round < 100; ++round)
            for (const ptrdiff_t n : {0, 1, 2, 3, 17, 200}) CHECK(sum_of_squares(n) == expected(n));
    }
}

void each_thread_begins_with_its_own_share() {
    constexpr int THREADS = 3;
    set_num_threads(THREADS);
    std::vector<std::thread::id> first(THREADS);
    for (int round = 0; round < 100; ++round) {
        std::atomic<int> begun{0};
        auto task = [&](ptrdiff_t i) {
            ++begun;
            while (begun < THREADS) std::this_thread::yield();  // so that nobody is free to help
            const std::thread::id self = std::this_thread::get_id();
            if (round == 0) first[i] = self;
            CHECK(first[i] == self);
        };
        parallel_for(THREADS, task);
        CHECK(first[0] == std::this_thread::get_id());
    }
}

void who_is_done_helps_the_others() {
    set_num_threads(2);
    for (int round = 0; round < 100; ++round) {
        std::atomic<int> done{0};
        auto task = [&](ptrdiff_t i) {
            if (i == 0) {
                while (done < 9) std::this_thread::yield();  // for all others, half of which are of the same share
            } else {
                ++done;
            }
        };
        parallel_for(10, task);
    }
}

void workers_wake_up_again() {
    set_num_threads(3);
    for (int round = 0; round < 20; ++round) {
        CHECK(sum_of_squares(50) == expected(50));
        usleep(3000);  // long enough to fall asleep
    }
}

void a_loop_in_a_loop_runs_in_its_thread() {
    set_num_threads(4);
    for (int round = 0; round < 50; ++round) {
        std::vector<ptrdiff_t> sums(20);
        auto outer = [&](ptrdiff_t i) {
            const std::thread::id self = std::this_thread::get_id();
            auto inner = [&](ptrdiff_t j) {
                CHECK(std::this_thread::get_id() == self);
                sums[i] += j;
            };
            parallel_for(10, inner);
        };
        parallel_for(20, outer);
        for (const ptrdiff_t sum : sums) CHECK(sum == 45);
    }
}

void an_exception_reaches_the_caller() {
    for (int threads = 1; threads <= 4; ++threads) {
        set_num_threads(threads);
        for (int round = 0; round < 100; ++round) {
            const bool all = round % 2 == 1;  // one task throws, or every one
            auto task = [&](ptrdiff_t i) {
                if (all || i == 13) throw std::runtime_error("task");
            };
            std::string what;
            try {
                parallel_for(30, task);
            } catch (const std::runtime_error& error) {
                what = error.what();
            }
            CHECK(what == "task");
            CHECK(sum_of_squares(40) == expected(40));  // the team lives on
        }
    }
}

void several_callers_compute_at_once() {
    set_num_threads(3);
    call_at_once(4, [](int caller) {
        for (int round = 0; round < 200; ++round) {
            const ptrdiff_t n = 20 + caller + round % 7;
            CHECK(sum_of_squares(n) == expected(n));
        }
    });
}

void the_team_may_change_while_others_compute() {
    call_at_once(5, [](int caller) {
        for (int round = 0; round < 100; ++round) {
            if (caller < 2) set_num_threads(1 + (round + caller) % 4);
            CHECK(num_threads() >= 1);
            CHECK(sum_of_squares(30) == expected(30));
        }
    });
}

void a_wrong_number_of_threads_is_refused() {
    set_num_threads(2);
    for (const int wrong : {0, -3, 5000}) {
        bool refused = false;
        try {
            set_num_threads(wrong);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        CHECK(refused);
    }
    CHECK(num_threads() == 2);
}

[[maybe_unused]] void threads_that_cannot_be_started_are_an_error() {
    set_num_threads(1);
    rlimit before;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    const rlimit little{rlim_t{1} << 29, before.rlim_max};  // each thread wants several MB for its stack
    CHECK(setrlimit(RLIMIT_AS, &little) == 0);
    void* much = mmap(nullptr, size_t{1} << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (much != MAP_FAILED) {  // nothing can be made to fail then
        std::printf("    not tested: this system (an emulator?) sets no such limit\n");
        munmap(much, size_t{1} << 30);
        return;
    }
    set_num_threads(4096);
    std::string what;
    try {
        sum_of_squares(10);
    } catch (const std::runtime_error& error) {
        what = error.what();
    }
    CHECK(what.find("cannot start 4096 threads: ") == 0);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    set_num_threads(3);
    CHECK(sum_of_squares(10) == expected(10));
}

void scratch_belongs_to_its_thread() {
    set_num_threads(4);
    for (int round = 1; round <= 50; ++round) {
        auto task = [&](ptrdiff_t i) {
            const size_t floats = 100 * round + i;
            thread_local Scratch some, other;
            float* memory = some.take<float>(floats);
            double* more = other.take<double>(floats);
            CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0 && reinterpret_cast<uintptr_t>(more) % 64 == 0);
            for (size_t k = 0; k < floats; ++k) memory[k] = static_cast<float>(i), more[k] = -1 - static_cast<double>(i);
            for (size_t k = 0; k < floats; ++k) CHECK(memory[k] == static_cast<float>(i) && more[k] == -1.0 - i);
            CHECK(some.take<float>(floats) == memory);  // it is kept
        };
        parallel_for(40, task);
    }
}

void buffers_are_taken_and_returned_by_many_threads() {
    call_at_once(4, [](int caller) {
        std::vector<float*> mine;
        for (int round = 0; round < 300; ++round) {
            const size_t floats = 10 + 90 * (round % 5);
            float* memory = static_cast<float*>(take_buffer(floats * sizeof(float)));
            for (size_t k = 0; k < floats; ++k) memory[k] = static_cast<float>(caller);
            mine.push_back(memory);
            if (mine.size() > 3) {
                CHECK(mine.front()[9] == static_cast<float>(caller));
                return_buffer(mine.front());
                mine.erase(mine.begin());
            }
            if (round % 50 == 0) release_buffers();
        }
        for (float* memory : mine) return_buffer(memory);
    });
    CHECK(buffer_bytes().in_use == 0);
    release_buffers();
    CHECK(buffer_bytes().kept == 0);
}

[[maybe_unused]] void a_forked_child_computes_too() {
    set_num_threads(3);
    std::atomic<bool> done{false};
    std::thread busy([&] {  // the fork may fall in the middle of this thread's loop
        while (!done) CHECK(sum_of_squares(30) == expected(30));
    });
    for (int round = 0; round < 10; ++round) {
        CHECK(sum_of_squares(30) == expected(30));
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);  // a child that waits for its parent's threads is killed
            CHECK(num_threads() == 3);
            CHECK(sum_of_squares(30) == expected(30));
            set_num_threads(2);
            CHECK(sum_of_squares(30) == expected(30));
            std::_Exit(0);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(num_threads() == 3);
    }
    done = true;
    busy.join();
}

}  // namespace

int main() {
    CHECK(num_threads() == available_cores());  // the default: before anybody asks for another number
    RUN(tasks_are_wanted_for_every_thread);
    RUN(every_task_runs_once);
    RUN(each_thread_begins_with_its_own_share);
    RUN(who_is_done_helps_the_others);
    RUN(workers_wake_up_again);
    RUN(a_loop_in_a_loop_runs_in_its_thread);
    RUN(an_exception_reaches_the_caller);
    RUN(several_callers_compute_at_once);
    RUN(the_team_may_change_while_others_compute);
    RUN(a_wrong_number_of_threads_is_refused);
#if !defined(__SANITIZE_THREAD__) && !LEVIT_WATCHED  // sanitizers need far more memory than this leaves
    RUN(threads_that_cannot_be_started_are_an_error);
#endif
    RUN(scratch_belongs_to_its_thread);
    RUN(buffers_are_taken_and_returned_by_many_threads);
#if !defined(__SANITIZE_THREAD__)  // which does not know the threads of a child
    RUN(a_forked_child_computes_too);
#endif
}
