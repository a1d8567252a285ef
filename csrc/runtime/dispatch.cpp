#include "runtime/dispatch.h"

#include <cstdlib>
#include <stdexcept>

namespace levit {
namespace {

const Kernels* chosen = nullptr;

}  // namespace

const std::vector<Isa>& instruction_sets() {
#if defined(__x86_64__)
    // What the compiler may use where setup.py says -march=x86-64-v3; no processor has these without the rest of it.
    [[maybe_unused]] const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                                     __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#endif
    // setup.py defines LEVIT_HAS_... for each that the compiler knows, and compiles kernels.cpp for those.
    static const std::vector<Isa> all = {
#if defined(LEVIT_HAS_avx512)
        {"avx512", kernels_avx512,
         v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")},
#endif
#if defined(LEVIT_HAS_avx2)
        {"avx2", kernels_avx2, v3},
#endif
        {"baseline", kernels_baseline, true},
    };
    return all;
}

void set_isa(const std::string& name) {
    std::string names;
    for (const Isa& isa : instruction_sets()) {
        if (isa.name == name) {
            if (!isa.supported) throw std::invalid_argument("this processor does not have " + name);
            chosen = &isa.kernels();
            return;
        }
        names += (names.empty() ? "" : ", ") + std::string(isa.name);
    }
    throw std::invalid_argument("there is no instruction set '" + name + "' here; compiled in: " + names);
}

const Kernels& kernels() {
    if (chosen == nullptr) {
        const char* wanted = std::getenv("LEVIT_REF_ISA");
        if (wanted != nullptr) {
            try {
                set_isa(wanted);
            } catch (const std::invalid_argument& error) {
                throw std::invalid_argument(std::string("LEVIT_REF_ISA: ") + error.what());
            }
        } else {
            for (const Isa& isa : instruction_sets())
                if (isa.supported) {
                    chosen = &isa.kernels();
                    break;
                }
        }
    }
    return *chosen;
}

}  // namespace levit
