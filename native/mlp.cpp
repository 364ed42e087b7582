// The instruction sets of this build, and those that this processor has.

#include "mlp.hpp"

namespace lettrine {

#if defined(LETTRINE_X86)
namespace avx512 {
extern const InstructionSet instruction_set;
}
namespace avx2 {
extern const InstructionSet instruction_set;
}
#elif defined(LETTRINE_ARM)
namespace neon {
extern const InstructionSet instruction_set;
}
#endif
namespace portable {
extern const InstructionSet instruction_set;
}

namespace {

struct Found {
    const InstructionSet* sets[4] = {};
    Found() {
        int count = 0;
#if defined(LETTRINE_X86)
        // The compiler's runtime also checks whether the operating system saves the wide registers.
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
            sets[count++] = &avx512::instruction_set;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets[count++] = &avx2::instruction_set;
#elif defined(LETTRINE_ARM)
        sets[count++] = &neon::instruction_set;
#endif
        sets[count] = &portable::instruction_set;
    }
};

}  // namespace

const InstructionSet* const* instruction_sets() {
    static const Found found;
    return found.sets;
}

}  // namespace lettrine
