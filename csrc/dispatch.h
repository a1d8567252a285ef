// Which instruction set runs: the best one that was compiled in and that this processor has.
#pragma once

#include <string>
#include <vector>

#include "instruction_sets.h"

namespace levit {

enum class Isa : int { LEVIT_INSTRUCTION_SETS };

struct InstructionSet {
    const char* name;
    Isa isa;
    bool supported;  // by this processor
};

// All that were compiled in, the best one first.
const std::vector<InstructionSet>& instruction_sets();

// The chosen one. LEVIT_REF_ISA, or set_isa, can ask for a lower one than the best.
const InstructionSet& chosen_isa();
void set_isa(const std::string& name);

// The kernels of a group for the chosen instruction set: kernels<SoftmaxKernels>().forward(...). setup.py defines
// LEVIT_HAS_... for those that the compiler knows.
template <class Kernels>
const Kernels& kernels() {
    switch (chosen_isa().isa) {
#if defined(LEVIT_HAS_avx512)
        case Isa::avx512: return Kernels::avx512;
#endif
#if defined(LEVIT_HAS_avx2)
        case Isa::avx2: return Kernels::avx2;
#endif
        default: return Kernels::baseline;
    }
}

}  // namespace levit
