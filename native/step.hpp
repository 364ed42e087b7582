// How gradients become steps, exactly as in torch.optim.

#pragma once

#include "mlp.hpp"
#include "vector.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
struct Step {
    using V = Vector<T>;
    T rate, momentum;
    T beta1, beta2, eps, size, root;  // AdamW: size = rate / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t)
    bool adamw;
    // SGD without momentum needs no gradient arrays (a fused step): the gradient of the logits is multiplied by -rate, and each
    // product is added to the weights.
    bool fused;

    Step(const Optimiser& optimiser, double rate_, std::int64_t number)
        : rate(static_cast<T>(rate_)),
          momentum(static_cast<T>(optimiser.momentum)),
          beta1(static_cast<T>(optimiser.beta1)),
          beta2(static_cast<T>(optimiser.beta2)),
          eps(static_cast<T>(optimiser.eps)),
          size(0),
          root(0),
          adamw(optimiser.adamw),
          fused(!optimiser.adamw && optimiser.momentum == 0) {
        if (adamw) {
            size = static_cast<T>(rate_ / (1 - __builtin_pow(optimiser.beta1, static_cast<double>(number))));
            root = static_cast<T>(1 / __builtin_sqrt(1 - __builtin_pow(optimiser.beta2, static_cast<double>(number))));
        }
    }

    // The factor for the gradient of the logits, for a mean over `batch` examples.
    T scale(Index batch) const { return (fused ? -rate : T(1)) / static_cast<T>(batch); }
    // The factor of a weight in one fused step, from weight decay and the penalty.
    T keep(const Parameter<T>& p) const { return 1 - rate * (p.decay + 2 * p.l2); }

    // Moves n numbers of a parameter from `at` on; g is their gradient (their change, where fused).
    void apply(const Parameter<T>& p, Index at, const T* g, Index n) const {
        Index i = 0;
        for (; i + V::width <= n; i += V::width) apply_vector(p, at + i, V::load(g + i), V::width);
        if (i < n) apply_vector(p, at + i, V::load(g + i, static_cast<int>(n - i)), static_cast<int>(n - i));
    }

private:
    LETTRINE_INLINE void apply_vector(const Parameter<T>& p, Index at, typename V::Value g, int n) const {
        auto value = V::load(p.value + at, n);
        if (fused) {
            value = value * V::set(keep(p)) + g;
        } else if (adamw) {
            g += V::set(2 * p.l2) * value;
            const auto first = V::load(p.first + at, n) * V::set(beta1) + g * V::set(1 - beta1);
            const auto second = V::load(p.second + at, n) * V::set(beta2) + g * g * V::set(1 - beta2);
            V::store(p.first + at, first, n);
            V::store(p.second + at, second, n);
            value = value * V::set(1 - rate * p.decay) - V::set(size) * first / (V::sqrt(second) * V::set(root) + V::set(eps));
        } else {
            g += V::set(p.decay + 2 * p.l2) * value;
            const auto first = V::load(p.first + at, n) * V::set(momentum) + g;
            V::store(p.first + at, first, n);
            value = value - V::set(rate) * first;
        }
        V::store(p.value + at, value, n);
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
