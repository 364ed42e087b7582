// Batch norm and activation in the rows layout: a vector holds several features, so sums over the batch are plain additions.

#pragma once

#include "layers.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// What a batch norm keeps of a batch, each (F,) padded to whole panels.
template <class T>
struct NormMemory {
    T *mean, *variance, *inverse;  // inverse = 1 / sqrt(variance + eps)
    T *scale_gradient, *shift_gradient;
};

// z becomes (z - mean) / sqrt(variance + eps), over the batch, biased variance (Ioffe & Szegedy 2015).
// shares (B,): the number of examples of the batch that a row stands for.
template <class T>
void normalise(const Batch<T>& batch, Span part, T eps, const T* shares, T* z, const NormMemory<T>& memory) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    for (Index f = part.begin; f < part.end; f += V::width) {
        T* at = z + batch.row(f);
        auto mean = V::zero(), variance = V::zero();
        for (Index b = 0; b < batch.count; ++b) mean += V::load(at + b * W) * V::set(shares[b]);
        for (Index b = 0; b < batch.count; ++b) {
            const auto gap = V::load(at + b * W) - mean;
            variance += gap * gap * V::set(shares[b]);
        }
        const auto inverse = V::set(1) / V::sqrt(variance + V::set(eps));
        for (Index b = 0; b < batch.count; ++b) V::store(at + b * W, (V::load(at + b * W) - mean) * inverse);
        V::store(memory.mean + f, mean);
        V::store(memory.variance + f, variance);
        V::store(memory.inverse + f, inverse);
    }
}

// From d loss / d (scale * z + shift) to d loss / d (the input of the norm), in place. z is the normalised value.
template <class T>
void normalise_backward(const Batch<T>& batch, Span part, Index features, const T* scale, const T* shares, const T* z, T* d,
                        const NormMemory<T>& memory) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    for (Index f = part.begin; f < part.end; f += V::width) {
        const T* x = z + batch.row(f);
        T* at = d + batch.row(f);
        auto shift = V::zero(), slope = V::zero();
        for (Index b = 0; b < batch.count; ++b) {
            const auto g = V::load(at + b * W);
            shift += g;
            slope += g * V::load(x + b * W);
        }
        V::store(memory.shift_gradient + f, shift);
        V::store(memory.scale_gradient + f, slope);
        const auto factor = load_or<T>(scale, f, features - f, T(1)) * V::load(memory.inverse + f);
        for (Index b = 0; b < batch.count; ++b)
            V::store(at + b * W, factor * (V::load(at + b * W) - (shift + V::load(x + b * W) * slope) * V::set(shares[b])));
    }
}

// running = (1 - momentum) * running + momentum * batch's, with the unbiased variance (n - 1), as in torch.
template <class T>
void update_running(Index examples, Span part, T momentum, const Layer<T>& layer, const NormMemory<T>& memory) {
    const T unbiased = static_cast<T>(examples) / static_cast<T>(examples > 1 ? examples - 1 : 1);
    for (Index f = part.begin; f < part.end; ++f) {
        layer.running_mean[f] = (1 - momentum) * layer.running_mean[f] + momentum * memory.mean[f];
        layer.running_variance[f] = (1 - momentum) * layer.running_variance[f] + momentum * unbiased * memory.variance[f];
    }
}

// a = activation(scale * z + shift). `before`, if not null, gets the input of the activation (see `Kernel::slope_of_input`).
template <class T>
void activate_rows(const Batch<T>& batch, Span part, Index features, Activation activation, const T* scale, const T* shift,
                   const T* z, T* before, T* a) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    with_activation(activation, [&](auto constant) {
        constexpr Activation A = decltype(constant)::value;
        for (Index f = part.begin; f < part.end; f += V::width) {
            const auto by = load_or<T>(scale, f, features - f, T(1)), plus = load_or<T>(shift, f, features - f, T(0));
            const Index at = batch.row(f);
            for (Index b = 0; b < batch.count; ++b) {
                auto x = V::load(z + at + b * W);
                if (scale) x = x * by + plus;
                if (before) V::store(before + at + b * W, x);
                V::store(a + at + b * W, Kernel<A, T>::of(x));
            }
        }
    });
}

// d *= slope of the activation. `seen` is the argument of `Kernel::slope`: the activation, or its input. sums (F,): of the new d over
// the batch.
template <class T>
void activate_backward(const Batch<T>& batch, Span part, Activation activation, const T* seen, T* d, T* sums) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    with_activation(activation, [&](auto constant) {
        constexpr Activation A = decltype(constant)::value;
        for (Index f = part.begin; f < part.end; f += V::width) {
            const Index at = batch.row(f);
            auto total = V::zero();
            for (Index b = 0; b < batch.count; ++b) {
                const auto g = V::load(d + at + b * W) * Kernel<A, T>::slope(V::load(seen + at + b * W));
                total += g;
                V::store(d + at + b * W, g);
            }
            V::store(sums + f, total);
        }
    });
}

// sums[f] = sum over the batch of d, for rows.
template <class T>
void sum_rows(const Batch<T>& batch, Span part, const T* d, T* sums) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    for (Index f = part.begin; f < part.end; f += V::width) {
        auto total = V::zero();
        for (Index b = 0; b < batch.count; ++b) total += V::load(d + batch.row(f) + b * W);
        V::store(sums + f, total);
    }
}

}  // namespace lettrine::LETTRINE_NAMESPACE
