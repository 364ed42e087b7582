// A network's arrays and what may be done with them: plain pointers. The caller that fills them in checks them.
//
// Shape letters: B batch, T context, E embedding, H hidden, V vocabulary, S steps, N examples.

#pragma once

#include <cstddef>
#include <cstdint>

#include "activation_names.hpp"
#include "moments.hpp"
#include "team.hpp"

namespace lettrine {

// One trained array, its optimiser's memory (null where there is none) and what pulls it towards zero.
template <class T>
struct Parameter {
    T* value = nullptr;
    T* first = nullptr;   // momentum, or AdamW's mean of gradients
    T* second = nullptr;  // AdamW's mean of squared gradients
    T decay = 0;          // weight decay
    T l2 = 0;             // coefficient of sum(p**2) in the loss
    explicit operator bool() const { return value != nullptr; }
};

// A Linear and the batch norm after it. The output layer is the last one.
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

// Share of each hidden layer's outputs that is dropped in a step; the masks are a function of seed and step.
struct Dropout {
    double rate = 0;
    std::uint64_t seed = 0;
};

struct Examples {
    const std::int32_t* contexts;  // (N, T)
    const std::int32_t* targets;   // (N,)
    Index count;
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

// The work of one precision on one instruction set. Each first says how much memory it wants.
template <class T>
struct Kernels {
    std::size_t (*train_memory)(const Network<T>&, const Optimiser&, const Dropout&, Index batch, int threads);
    // Returns the steps whose loss is in `losses`; the last of them was not applied if that loss is not finite.
    Index (*train)(const Network<T>&, const Optimiser&, const Dropout&, const Examples&, const Schedule&, double* losses, void* memory, Team&);
    std::size_t (*evaluate_memory)(const Network<T>&, Index count, int threads);
    // losses (N,) or logits (N, V), whichever is not null.
    void (*evaluate)(const Network<T>&, const Examples&, double* losses, T* logits, void* memory, Team&);
    std::size_t (*sample_memory)(const Network<T>&, Index words, Index length);
    // contexts (N, T) are overwritten; uniforms and drawn (N, L), all 0 before.
    void (*sample)(const Network<T>&, const Choice&, std::int32_t* contexts, const double* uniforms, Index words, Index length,
                   std::int32_t* drawn, void* memory);
};

struct InstructionSet {
    const char* name;
    Kernels<float> single;
    Kernels<double> twice;
    Measures<float> single_measures;
    Measures<double> twice_measures;
    // Runs nothing but multiply-adds of float for so many rounds, and returns the floating-point operations that were.
    double (*multiply_adds)(Index rounds);
};

// The sets this build holds and this processor has, best first, up to a null.
const InstructionSet* const* instruction_sets();

}  // namespace lettrine
