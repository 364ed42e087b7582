// The arrays of a network, as plain pointers, and the functions on them. The caller checks the arrays.
//
// Shape letters: B batch, T context, E embedding, H hidden, V vocabulary, S steps, N examples.

#pragma once

#include <cstddef>
#include <cstdint>

#include "activation_names.hpp"
#include "moments.hpp"
#include "team.hpp"

namespace lettrine {

// One trained array, its optimiser's memory (null if there is none), and its weight decay and penalty.
template <class T>
struct Parameter {
    T* value = nullptr;
    T* first = nullptr;   // momentum, or AdamW's mean of gradients
    T* second = nullptr;  // AdamW's mean of squared gradients
    T decay = 0;          // weight decay
    T l2 = 0;             // coefficient of sum(p**2) in the loss
    explicit operator bool() const { return value != nullptr; }
};

// A Linear and its batch norm. The output layer is the last one.
template <class T>
struct Layer {
    Index in = 0, out = 0;
    Parameter<T> weight;        // (out, in)
    Parameter<T> bias;          // (out,)
    Parameter<T> scale, shift;  // (out,), of batch norm
    T* running_mean = nullptr;
    T* running_variance = nullptr;
};

template <class T>
struct Network {
    Index vocabulary = 0, context = 0, width = 0;  // V, T, E
    Activation activation = Activation::tanh;
    T norm_momentum = 0, norm_eps = 0;
    Parameter<T> embedding;  // (V, E)
    Parameter<T> direct;     // (V, T*E)
    Layer<T>* layers = nullptr;
    Index depth = 0;  // hidden layers and the output
};

struct Optimiser {
    bool adamw = false;
    double momentum = 0, beta1 = 0, beta2 = 0, eps = 0;
    std::int64_t step = 0;  // steps taken before these
};

// The share of outputs of each hidden layer that is dropped in a step. The masks are a function of seed and step.
struct Dropout {
    double rate = 0;
    std::uint64_t seed = 0;
};

// Characters as integers of `bytes` bytes: 1 and 2 unsigned, 4 signed. A cache holds more of the narrow ones.
struct Examples {
    const void* contexts;  // (N, T)
    const void* targets;   // (N,)
    Index count;
    int bytes;

    const void* context(Index i, Index length) const { return static_cast<const char*>(contexts) + i * length * bytes; }
    const void* target(Index i) const { return static_cast<const char*>(targets) + i * bytes; }
    // Calls f with the arrays in their own type.
    template <class F>
    auto typed(F f) const {
        switch (bytes) {
            case 1: return f(static_cast<const std::uint8_t*>(contexts), static_cast<const std::uint8_t*>(targets));
            case 2: return f(static_cast<const std::uint16_t*>(contexts), static_cast<const std::uint16_t*>(targets));
            default: return f(static_cast<const std::int32_t*>(contexts), static_cast<const std::int32_t*>(targets));
        }
    }
};

struct Schedule {
    const std::int64_t* batches;   // (S, B) indices of examples
    const double* learning_rates;  // (S,)
    Index steps, batch;
};

struct Choice {
    double temperature = 1, top_p = 1;
    Index top_k = 0;
};

struct Counts;

// The model that words are drawn from: networks of one shape and counts. Logits are the sum of the networks' logits times `share`,
// plus `weight` times the logarithm of the counts' probabilities.
template <class T>
struct Mixture {
    const Network<T>* networks = nullptr;  // `size` of them
    Index size = 0, vocabulary = 0, context = 0;
    double share = 0, weight = 0;
    const Counts* counts = nullptr;
    // Terms by the kinds of characters (V,): of the last two of the context and of the next one, (K, K, K). Null: none.
    const std::int64_t* kinds = nullptr;
    const double* by_kinds = nullptr;
    Index kind_count = 0;
};

// The functions of one precision on one instruction set. Each has another that says how much memory it needs.
template <class T>
struct Kernels {
    std::size_t (*train_memory)(const Network<T>&, const Optimiser&, const Dropout&, Index batch, int threads);
    // Returns the steps whose loss is in `losses`; the last of them was not applied if that loss is not finite.
    Index (*train)(const Network<T>&, const Optimiser&, const Dropout&, const Examples&, const Schedule&, double* losses, void* memory, Team&);
    std::size_t (*evaluate_memory)(const Network<T>&, Index count, int threads);
    // losses (N,) or logits (N, V), whichever is not null.
    void (*evaluate)(const Network<T>&, const Examples&, double* losses, T* logits, void* memory, Team&);
    // Memory must be zeroed, then prepared once. It keeps the distributions of contexts from one call to the next.
    std::size_t (*draw_memory)(const Mixture<T>&, int threads);
    void (*prepare_drawing)(const Mixture<T>&, int threads, void* memory);
    // contexts (N, T) are overwritten; uniforms and drawn are (N, L), drawn all 0 before; alive (N,) is scratch. At most `threads` run.
    void (*draw)(const Mixture<T>&, const Choice&, std::int32_t* contexts, const double* uniforms, Index words, Index length,
                 std::int32_t* drawn, Index* alive, int threads, void* memory, Team&);
};

struct InstructionSet {
    const char* name;
    Kernels<float> single;
    Kernels<double> twice;
    Measures<float> single_measures;
    Measures<double> twice_measures;
    // Runs only multiply-adds of float, for so many rounds. Returns the number of floating-point operations.
    double (*multiply_adds)(Index rounds);
};

// The instruction sets that are in this build and in this processor, the best first; a null ends the list.
const InstructionSet* const* instruction_sets();

}  // namespace lettrine
