#include "runtime/scratch.h"

#include <cstdlib>
#include <new>

#include "sanitizers.h"

namespace levit {

Scratch::~Scratch() { std::free(memory_); }

void* Scratch::take_bytes(size_t bytes) {
    if (LEVIT_WATCHED ? bytes_ != bytes : bytes_ < bytes) {
        std::free(memory_);
        memory_ = nullptr;
        bytes_ = 0;
        if (posix_memalign(&memory_, 64, bytes) != 0) {
            memory_ = nullptr;
            throw std::bad_alloc();
        }
        bytes_ = bytes;
    }
    return memory_;
}

}  // namespace levit
