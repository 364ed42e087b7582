// The first layer, whose inputs are embeddings of characters. There are two ways to the same numbers.
//
// Plain: concatenate the embeddings and multiply.
// By table: at a position t there are at most V characters, often far fewer than B. So each distinct (position, character) pair is
// multiplied once, and an example adds up T finished rows. In the backward pass, the gradients of examples that share a pair are
// summed before they are multiplied. With R pairs in the batch, work falls from B T E H to R E H + B T H. That is a factor
// of 3 to 5 for a vocabulary of 27 and 128 examples.
// The table needs the weights as (in, out) panels. They have this layout during a whole call.

#pragma once

#include "distinct.hpp"
#include "layers.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// weight (out, in) to panels [out / W][in][W], and back.
template <class T>
void weight_to_panels(Index in, Index out, const T* weight, T* panels) {
    constexpr Index W = panel_width<T>;
    for (Index o = 0; o < out; ++o)
        for (Index k = 0; k < in; ++k) panels[(o / W * in + k) * W + o % W] = weight[o * in + k];
}

template <class T>
void panels_to_weight(Index in, Index out, const T* panels, T* weight) {
    constexpr Index W = panel_width<T>;
    for (Index o = 0; o < out; ++o)
        for (Index k = 0; k < in; ++k) weight[o * in + k] = panels[(o / W * in + k) * W + o % W];
}

// Concatenated embeddings as rows, [K / W][B][W], K = T * E.
template <class T>
void gather(const Batch<T>& batch, Index context, Index width, const T* embedding, const std::int32_t* const* contexts, T* line, T* rows) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    const Index in = context * width;
    for (Index b = 0; b < batch.count; ++b) {
        for (Index t = 0; t < context; ++t) {
            const T* from = embedding + contexts[b][t] * width;
            T* to = line + t * width;
            for (Index e = 0; e < width; e += V::width) {
                const int n = static_cast<int>(width - e < V::width ? width - e : V::width);
                V::store(to + e, V::load(from + e, n));  // the next store overwrites what is too much, or it is padding
            }
        }
        for (Index k = 0; k < in; k += W) {
            T* to = rows + k / W * batch.padded * W + b * W;
            V::store(to, V::load(line + k));
            V::store(to + V::width, V::load(line + k + V::width));
        }
    }
}

// gradient[c] += d for each character of each context; d as rows over K.
template <class T>
void scatter(const Batch<T>& batch, Index context, Index width, const std::int32_t* const* contexts, const T* d, T* line, T* gradient) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    const Index in = context * width;
    for (Index b = 0; b < batch.count; ++b) {
        for (Index k = 0; k < in; k += W) {
            const T* from = d + k / W * batch.padded * W + b * W;
            V::store(line + k, V::load(from));
            V::store(line + k + V::width, V::load(from + V::width));
        }
        for (Index t = 0; t < context; ++t) {
            T* to = gradient + contexts[b][t] * width;
            for (Index e = 0; e < width; e += V::width) {
                const int n = static_cast<int>(width - e < V::width ? width - e : V::width);
                V::store(to + e, V::load(to + e, n) + V::load(line + t * width + e), n);
            }
        }
    }
}

// table[r] = embedding of pair r times the weights of its position, for the panel of features from f on.
template <class T>
void make_table(const Pairs& pairs, Index context, Index width, Index f, const T* letters, const T* panels, T* table) {
    constexpr Index W = panel_width<T>;
    for (Index t = 0; t < context; ++t) {
        const Index first = pairs.begin[t];
        product<T>(pairs.begin[t + 1] - first, W, width, Operand<T>{letters + first * width, width, 1, width, 0},
                   panels + (f / W * context + t) * width * W, W, table + first * W, W, Start::zero);
    }
}

// z = bias + the sum of each row's T rows of the table, for that panel. `of` (B, T): the pair of each row at each position.
template <class T>
void add_up(const Batch<T>& batch, const std::int32_t* of, Index context, Index f, Index features, const T* bias, const T* table, T* z) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>, w = V::width;
    const auto low = load_or<T>(bias, f, features - f, T(0));
    const auto high = features - f > w ? load_or<T>(bias, f + w, features - f - w, T(0)) : V::zero();
    T* to = z + batch.row(f);
    for (Index b = 0; b < batch.count; ++b, of += context, to += W) {
        auto left = low, right = high;
        for (Index t = 0; t < context; ++t) {
            left += V::load(table + of[t] * W);
            right += V::load(table + of[t] * W + w);
        }
        V::store(to, left);
        V::store(to + w, right);
    }
}

// signals[j][r] = the sum of d over the rows that hold pair r, for `Panels` panels at once.
template <class T, int Panels>
void sum_signals_of(const Batch<T>& batch, const Pairs& pairs, Index context, Index f, const T* d, T* signals) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>, w = V::width;
    const Index count = pairs.count(context);
    const T* from = d + batch.row(f);
    T* to = signals + f / W * count * W;
    for (Index t = 0; t < context; ++t)
        for (Index r = pairs.begin[t]; r < pairs.begin[t + 1]; ++r, to += W) {
            typename V::Value sum[2 * Panels];
#pragma GCC unroll 8
            for (int i = 0; i < 2 * Panels; ++i) sum[i] = V::zero();
            for (Index b = pairs.last[r]; b >= 0; b = pairs.before[b * context + t])
#pragma GCC unroll 8
                for (int i = 0; i < 2 * Panels; ++i) sum[i] += V::load(from + b * W + i / 2 * batch.padded * W + i % 2 * w);
#pragma GCC unroll 8
            for (int i = 0; i < 2 * Panels; ++i) V::store(to + i / 2 * count * W + i % 2 * w, sum[i]);
        }
}

// Several panels at once, as long as they fit the L1 cache. The loop over a pair's rows ends unpredictably, so it should run rarely.
template <class T>
void sum_signals(const Batch<T>& batch, const Pairs& pairs, Index context, Span part, const T* d, T* signals) {
    constexpr Index W = panel_width<T>;
    for (Index f = part.begin; f < part.end;) {
        const Index left = batch.count > 40 ? 1 : (part.end - f + W - 1) / W;
        if (left >= 4) {
            sum_signals_of<T, 4>(batch, pairs, context, f, d, signals);
            f += 4 * W;
        } else if (left == 3) {
            sum_signals_of<T, 3>(batch, pairs, context, f, d, signals);
            f += 3 * W;
        } else {
            sum_signals_of<T, 1>(batch, pairs, context, f, d, signals);
            f += W;
        }
    }
}

// out[r, e] = sum over h of signals[r, h] * weights[t * E + e, h] for the pairs of one position, in blocks of R x C products. Their
// R * C <= width results fill a vector.
template <class T, int R, int C>
void letter_gradients_of(Index first, Index last, Index width, Index features, const T* signals, Index signal_panel, const T* panels,
                         Index weight_panel, T* out) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>, w = V::width;
    for (Index r = first; r < last; r += R)
        for (Index e = 0; e < width; e += C) {
            typename V::Value sum[w];
            const T *left[R], *right[C];
#pragma GCC unroll 16
            for (int i = 0; i < w; ++i) sum[i] = V::zero();
            // Beyond the edge the last row is used again; its results are not kept.
            for (int i = 0; i < R; ++i) left[i] = signals + (r + i < last ? r + i : last - 1) * W;
            for (int i = 0; i < C; ++i) right[i] = panels + (e + i < width ? e + i : width - 1) * W;
            for (Index f = 0; f < features; f += w) {
                const Index a = f / W * signal_panel + f % W, b = f / W * weight_panel + f % W;
                typename V::Value x[C];
#pragma GCC unroll 16
                for (int i = 0; i < C; ++i) x[i] = V::load(right[i] + b);
#pragma GCC unroll 16
                for (int i = 0; i < R; ++i) {
                    const auto y = V::load(left[i] + a);
#pragma GCC unroll 16
                    for (int j = 0; j < C; ++j) sum[i * C + j] += y * x[j];
                }
            }
            sum_lanes<T>(sum);
            for (int i = 0; i < R && r + i < last; ++i)
                for (int j = 0; j < C && e + j < width; ++j) out[(r + i) * width + e + j] = sum[0][i * C + j];
        }
}

// Gradients of the embeddings of the pairs [part).
template <class T>
void letter_gradients(const Pairs& pairs, Index context, Index width, Span part, Index features, const T* signals, const T* panels, T* out) {
    constexpr Index W = panel_width<T>;
    const Index count = pairs.count(context);
    for (Index t = 0; t < context; ++t) {
        const Index first = pairs.begin[t] > part.begin ? pairs.begin[t] : part.begin;
        const Index last = pairs.begin[t + 1] < part.end ? pairs.begin[t + 1] : part.end;
        const T* weights = panels + t * width * W;
        const auto go = [&](auto run) { run(first, last, width, features, signals, count * W, weights, context * width * W, out); };
        if constexpr (Vector<T>::width >= 16) {
            // The shape that wastes less at the edge: 10 columns are 2 x 5, 24 are 6 x 4.
            if ((width + 4) / 5 * 5 - width < (width + 3) / 4 * 4 - width)
                go(letter_gradients_of<T, 3, 5>);
            else
                go(letter_gradients_of<T, 4, 4>);
        } else if constexpr (Vector<T>::width >= 8) {
            go(letter_gradients_of<T, 2, 4>);
        } else if constexpr (Vector<T>::width >= 4) {
            go(letter_gradients_of<T, 2, 2>);
        } else {
            go(letter_gradients_of<T, 1, 2>);
        }
    }
}

}  // namespace lettrine::LETTRINE_NAMESPACE
