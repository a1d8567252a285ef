// Which instruction set runs: the best one that was compiled in and that this processor has.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace levit {

struct Isa {
    const char* name;
    const Kernels& (*kernels)();
    bool supported;  // by this processor
};

// All that were compiled in, the best one first.
const std::vector<Isa>& instruction_sets();

// The chosen one. LEVIT_REF_ISA, or set_isa, can ask for a lower one than the best.
const Kernels& kernels();
void set_isa(const std::string& name);

}  // namespace levit
