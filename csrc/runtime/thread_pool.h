// A team of threads that lives as long as the process: a parallel loop costs a fraction of a microsecond.
//
// Workers that wait spin for a moment, since the next operation usually follows within microseconds, and then sleep;
// they yield in between, so that a busy machine gets its cores back. Loops do not nest; a loop that finds the team busy
// with another Python thread's loop runs in its caller alone. Each thread begins with its own share of the tasks, which
// follow each other, and then helps the others: results must not depend on who runs which task.
#pragma once

#include <stddef.h>

namespace levit {

// Calls task(context, i) for i = 0 .. tasks - 1, in any order, on all threads of the team; returns when all are done.
void run_tasks(ptrdiff_t tasks, void (*task)(void* context, ptrdiff_t i), void* context);

// The same for a function object.
template <class F>
void parallel_for(ptrdiff_t tasks, F& f) {
    run_tasks(tasks, [](void* context, ptrdiff_t i) { (*static_cast<F*>(context))(i); }, &f);
}

int num_threads();             // of the team, the caller among them
void set_num_threads(int n);   // at least 1
int available_cores();         // that this process may use

// How many tasks to cut a loop into, where it can be cut at will: some for each thread, so that one that was held up leaves
// its work to others; 1 for a thread that is alone.
ptrdiff_t tasks_wanted();

}  // namespace levit
