// The one list of activations on this side: the enumeration, the names and the lookup by name are all made from it.
//
// `src/lettrine/activations.py` is the table it is checked against; `activations.hpp` holds a kernel for each.

#pragma once

#include <cstddef>

namespace lettrine {

// clang-format off
#define LETTRINE_ACTIVATIONS(each)   \
    each(identity, "identity")       \
    each(sigmoid, "sigmoid")         \
    each(tanh, "tanh")               \
    each(softsign, "softsign")       \
    each(relu, "relu")               \
    each(leaky_relu, "leaky-relu")   \
    each(gelu, "gelu")               \
    each(silu, "silu")               \
    each(mish, "mish")               \
    each(elu, "elu")                 \
    each(selu, "selu")
// clang-format on

#define LETTRINE_ENUMERATOR(id, name) id,
enum class Activation { LETTRINE_ACTIVATIONS(LETTRINE_ENUMERATOR) };
#undef LETTRINE_ENUMERATOR

#define LETTRINE_NAME_OF(id, name) name,
constexpr const char* activation_names[] = {LETTRINE_ACTIVATIONS(LETTRINE_NAME_OF)};
#undef LETTRINE_NAME_OF
constexpr std::size_t activation_count = sizeof(activation_names) / sizeof(activation_names[0]);

}  // namespace lettrine
