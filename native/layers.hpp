// The parts of a forward pass, for training and evaluation.
//
// Two layouts of a (B, F) matrix, both cut into panels of `panel_width` numbers (called W here):
//   rows      [F / W][B][W]   an example's features side by side: for element-wise work, batch norm, gradients of weights
//   columns   [B / W][F][W]   a feature's examples side by side: for the inputs of a Linear
// So every product runs along whole vectors, for any B and F. The numbers of examples beyond B are not used.

#pragma once

#include "activations.hpp"
#include "matmul.hpp"
#include "mlp.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

struct Span {
    Index begin, end;
};

// The part of [0, total) for one member, in whole blocks.
inline Span share(Index total, Index block, int member, int members) {
    const Index blocks = (total + block - 1) / block;
    const Index begin = blocks * member / members * block, end = blocks * (member + 1) / members * block;
    return {begin < total ? begin : total, end < total ? end : total};
}

template <class T>
struct Batch {
    Index count, padded;  // B, and B rounded up to whole panels
    explicit Batch(Index count_) : Batch(count_, count_) {}
    Batch(Index count_, Index most) : count(count_), padded(round_up<T>(most)) {}
    // The numbers in a matrix of so many features, in either layout.
    Index size(Index features) const { return padded * round_up<T>(features); }
    // A feature's first number in the rows layout; the next example is panel_width further on.
    Index row(Index feature) const {
        constexpr Index W = panel_width<T>;
        return feature / W * padded * W + feature % W;
    }
    // The columns of panel p that hold examples, in whole vectors.
    Index columns(Index p) const {
        constexpr Index W = panel_width<T>, w = Vector<T>::width;
        const Index left = count - p * W;
        return left > w ? W : w;
    }
    Index panels() const { return round_up<T>(count) / panel_width<T>; }
};

// z = x W^T + b for features [part), x and z as columns.
template <class T>
void linear(const Batch<T>& batch, Index in, Index out, const T* weight, const T* bias, Span part, const T* x, T* z, bool add = false) {
    constexpr Index W = panel_width<T>;
    const Operand<T> a{weight + part.begin * in, in, 1, in, 0};
    const Start start = add ? Start::added : bias ? Start::rows : Start::zero;
    for (Index p = 0; p < batch.panels(); ++p)
        product<T>(part.end - part.begin, batch.columns(p), in, a, x + p * round_up<T>(in) * W, W,
                   z + (p * round_up<T>(out) + part.begin) * W, W, start, bias ? bias + part.begin : nullptr);
}

template <class T>
void columns_to_rows(const Batch<T>& batch, Index features, Span part, const T* columns, T* rows) {
    constexpr Index W = panel_width<T>, w = Vector<T>::width;
    for (Index f = part.begin; f < part.end; f += w)
        for (Index b = 0; b < batch.count; b += w)
            transpose_block<T>(columns + (b / W * round_up<T>(features) + f) * W + b % W, W, rows + batch.row(f) + b * W, W);
}

template <class T>
void rows_to_columns(const Batch<T>& batch, Index features, Span part, const T* rows, T* columns) {
    constexpr Index W = panel_width<T>, w = Vector<T>::width;
    for (Index f = part.begin; f < part.end; f += w)
        for (Index b = 0; b < batch.count; b += w)
            transpose_block<T>(rows + batch.row(f) + b * W, W, columns + (b / W * round_up<T>(features) + f) * W + b % W, W);
}

// The first n numbers of an array at p; a constant if there is no array.
template <class T>
LETTRINE_INLINE typename Vector<T>::Value load_or(const T* p, Index at, Index n, T otherwise) {
    using V = Vector<T>;
    if (!p) return V::set(otherwise);
    return n >= V::width ? V::load(p + at) : V::load(p + at, static_cast<int>(n));
}

template <class T>
LETTRINE_INLINE void store_first(T* p, typename Vector<T>::Value v, Index n) {
    using V = Vector<T>;
    n >= V::width ? V::store(p, v) : V::store(p, v, static_cast<int>(n));
}

// Copies rows that are as short as an embedding, without a loop over single numbers.
template <class T>
LETTRINE_INLINE void copy_row(Index n, const T* from, T* to) {
    for (Index i = 0; i < n; i += Vector<T>::width) store_first<T>(to + i, load_or<T>(from, i, n - i, T(0)), n - i);
}

template <class T>
LETTRINE_INLINE void add_row(Index n, const T* from, T* to) {
    for (Index i = 0; i < n; i += Vector<T>::width) store_first<T>(to + i, load_or<T>(from, i, n - i, T(0)) + load_or<T>(to, i, n - i, T(0)), n - i);
}

}  // namespace lettrine::LETTRINE_NAMESPACE
