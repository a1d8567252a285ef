// Working memory that is kept from call to call: a kernel allocates nothing once it has seen its largest shape.
#pragma once

#include <stddef.h>

namespace levit {

enum class Scratch { packed, task, second, third, count };  // independent buffers of one thread

// At least `floats` floats of the calling thread, aligned to 64 bytes, with whatever was in them.
float* scratch(Scratch buffer, size_t floats);

}  // namespace levit
