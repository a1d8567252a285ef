#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

namespace levit {
namespace {

const InstructionSet* chosen = nullptr;

const InstructionSet& best_one() {
    for (const InstructionSet& set : instruction_sets())
        if (set.supported) return set;
    throw std::logic_error("every processor has the baseline");
}

}  // namespace

const std::vector<InstructionSet>& instruction_sets() {
#if defined(__x86_64__)
    // What the compiler may use where setup.py says -march=x86-64-v3; no processor has these without the rest of it.
    [[maybe_unused]] const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                                     __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#endif
    static const std::vector<InstructionSet> all = {
#if defined(LEVIT_HAS_avx512)
        {"avx512", Isa::avx512,
         v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")},
#endif
#if defined(LEVIT_HAS_avx2)
        {"avx2", Isa::avx2, v3},
#endif
        {"baseline", Isa::baseline, true},
    };
    return all;
}

void set_isa(const std::string& name) {
    std::string names;
    for (const InstructionSet& set : instruction_sets()) {
        if (set.name == name) {
            if (!set.supported) throw std::invalid_argument("this processor does not have " + name);
            chosen = &set;
            return;
        }
        names += (names.empty() ? "" : ", ") + std::string(set.name);
    }
    throw std::invalid_argument("there is no instruction set '" + name + "' here; compiled in: " + names);
}

const InstructionSet& chosen_isa() {
    if (chosen == nullptr) {
        const char* wanted = std::getenv("LEVIT_REF_ISA");
        if (wanted == nullptr) {
            chosen = &best_one();
        } else {
            try {
                set_isa(wanted);
            } catch (const std::invalid_argument& error) {
                throw std::invalid_argument(std::string("LEVIT_REF_ISA: ") + error.what());
            }
        }
    }
    return *chosen;
}

}  // namespace levit
