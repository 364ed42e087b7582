// Softmax and cross-entropy of logits in the columns layout: examples lie along the vectors.

#pragma once

#include "layers.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// For panel p: the sum of the examples' losses; logits become (softmax - one-hot) * scale.
template <class T>
double cross_entropy(const Batch<T>& batch, Index vocabulary, Index p, const std::int32_t* targets, T scale, T* logits) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    T* at = logits + p * round_up<T>(vocabulary) * W;
    const Index begin = p * W, count = batch.count - begin < W ? batch.count - begin : W;
    double loss = 0, product = 1;
    for (Index i = 0; i < count; ++i) loss -= static_cast<double>(at[targets[begin + i] * W + i]);
    for (Index j = 0; j < count; j += V::width) {
        auto most = V::load(at + j);
        for (Index v = 1; v < vocabulary; ++v) most = V::max(most, V::load(at + v * W + j));
        auto total = V::zero();
        for (Index v = 0; v < vocabulary; ++v) {
            const auto e = exp<T>(V::load(at + v * W + j) - most);
            total += e;
            V::store(at + v * W + j, e);
        }
        const auto factor = V::set(scale) / total;
        for (Index v = 0; v < vocabulary; ++v) V::store(at + v * W + j, V::load(at + v * W + j) * factor);
        for (Index i = 0; i < V::width && j + i < count; ++i) {
            loss += static_cast<double>(most[i]);
            product *= static_cast<double>(total[i]);  // at most V^W, far below overflow: one logarithm for all
        }
    }
    for (Index i = 0; i < count; ++i) at[targets[begin + i] * W + i] -= scale;
    return loss + __builtin_log(product);
}

// For panel p: each example's loss; logits are left as they are.
template <class T>
void log_likelihood(const Batch<T>& batch, Index vocabulary, Index p, const std::int32_t* targets, const T* logits, double* losses) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    const T* at = logits + p * round_up<T>(vocabulary) * W;
    const Index begin = p * W, count = batch.count - begin < W ? batch.count - begin : W;
    for (Index j = 0; j < count; j += V::width) {
        auto most = V::load(at + j);
        for (Index v = 1; v < vocabulary; ++v) most = V::max(most, V::load(at + v * W + j));
        auto total = V::zero();
        for (Index v = 0; v < vocabulary; ++v) total += exp<T>(V::load(at + v * W + j) - most);
        for (Index i = 0; i < V::width && j + i < count; ++i)
            losses[begin + j + i] = __builtin_log(static_cast<double>(total[i])) + static_cast<double>(most[i]) -
                                    static_cast<double>(at[targets[begin + j + i] * W + j + i]);
    }
}

// sums[v] = sum over the batch of d, for columns.
template <class T>
void sum_columns(const Batch<T>& batch, Index features, Span part, const T* d, T* sums) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>, w = V::width;
    for (Index f = part.begin; f < part.end; f += w) {
        typename V::Value totals[w];
        for (Index i = 0; i < w; ++i) {
            auto total = V::zero();
            for (Index b = 0; b < batch.count; b += w) {
                const auto v = V::load(d + (b / W * round_up<T>(features) + f + i) * W + b % W);
                total += batch.count - b >= w ? v : V::keep(v, static_cast<int>(batch.count - b));
            }
            totals[i] = total;
        }
        transpose_square<T>(totals);
        auto total = V::zero();
        for (Index i = 0; i < w; ++i) total += totals[i];
        V::store(sums + f, total);
    }
}

}  // namespace lettrine::LETTRINE_NAMESPACE
