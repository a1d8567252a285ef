// Matrix products in the calling thread, made of micro-kernel tiles: C (M, N) = A B, and then an epilogue.
//
// Five loops, from the outside in; each keeps in a nearer cache what the ones inside it use again:
//
//   1. tasks        blocks of rows of C, given to threads                              ops/linear.cpp
//   2. depth        chunks of K, only where K is the number of tokens (dW)             ops/linear.cpp
//   3. panels       PANEL columns of B: at K = 384 the panel is 48 KB                  gemm.cpp: multiply
//   4. tiles        up to MAX_ROWS rows of A against the panel                         gemm.cpp: multiply_panel
//   5. k            the micro-kernel: a tile of C in registers                         micro_kernel.h
#pragma once

#include "gemm/epilogue.h"
#include "gemm/micro_kernel.h"
#include "gemm/pack.h"

namespace levit::LEVIT_ISA {

// Where C is, and how far it is from one row to the next.
struct Result {
    float* data;
    ptrdiff_t stride;
};

// The columns of C that are computed, from a multiple of PANEL on; all, unless said otherwise.
struct Columns {
    ptrdiff_t start = 0, end = PTRDIFF_MAX;
};

// What will be read after a product, to be fetched meanwhile: two runs of memory, one after the other.
struct Upcoming {
    const float* at;
    const float* end;
    const float* second;

    const float* take(ptrdiff_t floats) {
        if (at >= end && second) at = second, second = nullptr;
        const float* from = at;
        at += floats;
        return from;
    }
};

// A by rows, B packed: the activations of a layer times its weights. The depth of A and B is the same, b.K.
void multiply(ptrdiff_t M, Depth depth, const Factor& a, const PackedB& b, const Result& c, const float* bias,
              Activation activation, Columns columns = {});
void multiply(ptrdiff_t M, Depth depth, const Factor& a, const PackedB& b, const Result& c, const ScaledSum& epilogue);

// B where it lies. `upcoming`: what comes next, if that is not the next rows of A.
template <Layout LAYOUT>
void multiply_in_place(ptrdiff_t M, ptrdiff_t N, Depth depth, const Factor& a, const Factor& b, const Result& c,
                       const ScaledSum& epilogue, Columns columns = {}, Upcoming* upcoming = nullptr);

}  // namespace levit::LEVIT_ISA
