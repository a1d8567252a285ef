// What the test programs share: a check that ends the program with the line that failed.
#pragma once

#include <cstdio>
#include <cstdlib>

[[noreturn]] inline void fail(const char* file, int line, const char* condition) {
    std::fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    std::_Exit(1);  // from whatever thread, with the others still at work
}

#define CHECK(condition) ((condition) ? void() : fail(__FILE__, __LINE__, #condition))

// Says what runs, so that a crash has a name too.
#define RUN(test) (std::printf("%s\n", #test), std::fflush(stdout), test())
