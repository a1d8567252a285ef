#include "runtime/scratch.h"

#include <cstdlib>
#include <new>

#include "sanitizers.h"

namespace levit {
namespace {

struct Buffer {
    float* data = nullptr;
    size_t floats = 0;
    ~Buffer() { std::free(data); }
};

thread_local Buffer buffers[static_cast<int>(Scratch::count)];

}  // namespace

float* scratch(Scratch which, size_t floats) {
    Buffer& buffer = buffers[static_cast<int>(which)];
    if (LEVIT_WATCHED ? buffer.floats != floats : buffer.floats < floats) {
        std::free(buffer.data);
        buffer.data = nullptr;
        buffer.floats = 0;
        const size_t bytes = floats * sizeof(float);
        void* memory = nullptr;
        if (posix_memalign(&memory, 64, bytes) != 0) throw std::bad_alloc();
        buffer.data = static_cast<float*>(memory);
        buffer.floats = floats;
    }
    return buffer.data;
}

}  // namespace levit
