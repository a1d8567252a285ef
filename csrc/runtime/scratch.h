// Working memory that is kept from call to call: a kernel allocates nothing once it has seen its largest shape.
//
// Whoever needs some declares it where it is used, and so nobody else has a name for it:
//
//   thread_local Scratch memory;
//   float* partial = memory.take<float>(blocks * C);
//
// Each thread has its own. What a thread takes for the others to work on, it hands to them as the pointer.
#pragma once

#include <stddef.h>

namespace levit {

class Scratch {
public:
    constexpr Scratch() = default;
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    // Room for at least `count` values, aligned to 64 bytes, with whatever was in it. Always inlined: it is compiled for each
    // instruction set, and no two may share a function (see simd/vec.h).
    template <class T>
    [[gnu::always_inline]] T* take(size_t count) {
        return static_cast<T*>(take_bytes(count * sizeof(T)));
    }

private:
    void* take_bytes(size_t bytes);

    void* memory_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace levit
