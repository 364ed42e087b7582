// Softmax and cross-entropy of logits in the columns layout: a vector holds several examples.

#pragma once

#include "distinct.hpp"
#include "layers.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// For panel p: the sum of the losses. Logits become the sum over a row's examples of (softmax - one-hot) * scale.
template <class T>
double cross_entropy(const Batch<T>& batch, Index vocabulary, Index p, const Rows& rows, T scale, T* logits) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    T* at = logits + p * round_up<T>(vocabulary) * W;
    const Index begin = p * W, count = batch.count - begin < W ? batch.count - begin : W;
    const Index first = rows.begin[begin], last = rows.begin[begin + count];
    double loss = 0, product = 1;
    for (Index i = first; i < last; ++i) loss -= static_cast<double>(at[rows.target[i] * W + rows.row[i] - begin]);
    T most[W], total[W];
    for (Index j = 0; j < count; j += V::width) {
        auto high = V::load(at + j);
        for (Index v = 1; v < vocabulary; ++v) high = V::max(high, V::load(at + v * W + j));
        auto sum = V::zero();
        for (Index v = 0; v < vocabulary; ++v) {
            const auto e = exp<T>(V::load(at + v * W + j) - high);
            sum += e;
            V::store(at + v * W + j, e);
        }
        typename V::Value weight = V::zero();
        for (Index i = 0; i < V::width && j + i < count; ++i) weight[i] = static_cast<T>(rows.weight[begin + j + i]);
        const auto factor = weight * V::set(scale) / sum;
        for (Index v = 0; v < vocabulary; ++v) V::store(at + v * W + j, V::load(at + v * W + j) * factor);
        V::store(most + j, high);
        V::store(total + j, sum);
    }
    for (Index i = first; i < last; ++i) {
        const Index b = rows.row[i] - begin;
        loss += static_cast<double>(most[b]);
        product *= static_cast<double>(total[b]);
        // One logarithm for 32 examples: their product is at most V^32, far below overflow.
        if ((i - first) % 32 == 31) {
            loss += __builtin_log(product);
            product = 1;
        }
        at[rows.target[i] * W + b] -= scale;
    }
    return loss + __builtin_log(product);
}

// For panel p: the loss of each example. Logits do not change.
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
