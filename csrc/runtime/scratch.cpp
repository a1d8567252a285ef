#include "runtime/scratch.h"

#include <cstdlib>
#include <new>

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
    if (buffer.floats < floats) {
        std::free(buffer.data);
        buffer.data = nullptr;
        buffer.floats = 0;
        const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
        void* memory = std::aligned_alloc(64, bytes);
        if (memory == nullptr) throw std::bad_alloc();
        buffer.data = static_cast<float*>(memory);
        buffer.floats = bytes / sizeof(float);
    }
    return buffer.data;
}

}  // namespace levit
