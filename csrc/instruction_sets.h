// The instruction sets that there can be kernels for, the best one first: the names that setup.py compiles them under.
//
// A group of kernels is a struct of function pointers, declared by ops/NAME.h. It has one value for each instruction set,
//
//   struct SoftmaxKernels {
//       void (*forward)(ptrdiff_t M, ptrdiff_t n, const float* x, float* y);
//       static const SoftmaxKernels LEVIT_INSTRUCTION_SETS;   // avx512, avx2, baseline
//   };
//
// and ops/NAME.cpp, compiled once for each, defines the one of its own: SoftmaxKernels::LEVIT_ISA. These values are
// constants: if code were needed to make them, it would run when the module is loaded, on any processor.
#pragma once

#define LEVIT_INSTRUCTION_SETS avx512, avx2, baseline
