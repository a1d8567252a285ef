// Memory for results, used again.
//
// A training step makes the same few hundred arrays every time. Fresh memory for each is slow in a way that no profile
// of kernels shows: the system hands out empty pages, 4 KB at a time, and clears every one on its first touch. So the
// memory of a result that nobody refers to any more is kept for the next results.
//
// Everything lies in a few long runs of addresses. A new result takes the lowest free place that it fits into, and
// what is left of that place stays free; a place that becomes free joins its free neighbours. The forward pass of a
// network piles results up and the backward pass takes them from the pile in the opposite order, so there is hardly
// ever a hole that nothing fits into: a training step of LeViT keeps 2 to 4 % more than is in use at its peak. On the
// heap of the process arrays that live for a millisecond would lie between others that stay.
//
// What is kept and what is in use together never exceed the most that was in use at once, by more than an eighth.
#pragma once

#include <stddef.h>

namespace levit {

// Memory of at least this size, aligned to 64 bytes, with whatever was in it.
void* take_buffer(size_t bytes);

// It may be used again.
void return_buffer(void* buffer);

struct BufferBytes {
    size_t in_use, kept, most_in_use;
};
BufferBytes buffer_bytes();

// Gives all memory back that is not in use.
void release_buffers();

}  // namespace levit
