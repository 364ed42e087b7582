// Small matrix products, blocked in registers, and transposition.
//
// Every product of the network has one form: C[m, n] = start + sum over k of A[m, k] * B[k, n], with n along the
// vectors. A is read one number at a time, in any order. So W x, W^T d and d x^T are the same loop with other
// strides. B is stored in *panels*: k rows of `panel` = 2 vectors each, so that the inner loop reads memory in
// order, whatever the widths are.

#pragma once

#include "mlp.hpp"
#include "vector.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
constexpr int panel_width = 2 * Vector<T>::width;

template <class T>
constexpr Index round_up(Index n) {
    return (n + panel_width<T> - 1) / panel_width<T> * panel_width<T>;
}

// A[m, k] = data[m * row + (k / run) * jump + (k % run) * step]: batches are cut into panels, hence the two levels.
template <class T>
struct Operand {
    const T* data;
    Index row, step, run, jump;
};

// The first values of the accumulators: 0, a number for each row, C, or scale * C.
enum class Start { zero, rows, added, scaled };

template <class T>
struct Product {
    Index depth;
    Operand<T> a;
    const T* b;
    Index b_row;
    T* c;
    Index c_row;
    int tail;  // numbers in the last vector of a row of C
    Start start;
    const T* rows;
    T scale;
};

// One tile: MR rows, NV vectors.
template <class T, int MR, int NV>
void tile(const Product<T>& x) {
    using V = Vector<T>;
    constexpr int W = V::width;
    typename V::Value sum[MR][NV];
    if (x.start >= Start::added) {
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) {
                const T* from = x.c + i * x.c_row + j * W;
                sum[i][j] = j == NV - 1 ? V::load(from, x.tail) : V::load(from);
            }
        if (x.start == Start::scaled) {
            const auto scale = V::set(x.scale);
#pragma GCC unroll 16
            for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
                for (int j = 0; j < NV; ++j) sum[i][j] *= scale;
        }
    } else if (x.start == Start::rows) {
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) sum[i][j] = V::set(x.rows[i]);
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) sum[i][j] = V::zero();
    }
    const Index row = x.a.row, step = x.a.step, b_row = x.b_row;
    const T *outer = x.a.data, *b = x.b;
    for (Index left = x.depth; left > 0; left -= x.a.run) {
        // A pointer to every fourth row: the addresses between them are part of the instruction. Pointers to all rows would not
        // fit into the registers.
        const T* quad[(MR + 3) / 4];
#pragma GCC unroll 4
        for (int i = 0; i < (MR + 3) / 4; ++i) quad[i] = outer + 4 * i * row;
        for (Index k = left < x.a.run ? left : x.a.run; k > 0; --k) {
            typename V::Value right[NV];
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) right[j] = V::load(b + j * W);
#pragma GCC unroll 16
            for (int i = 0; i < MR; ++i) {
                const auto factor = V::set(quad[i / 4][i % 4 * row]);
#pragma GCC unroll 2
                for (int j = 0; j < NV; ++j) sum[i][j] += factor * right[j];
            }
#pragma GCC unroll 4
            for (int i = 0; i < (MR + 3) / 4; ++i) quad[i] += step;
            b += b_row;
        }
        outer += x.a.jump;
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j) {
            T* to = x.c + i * x.c_row + j * W;
            j == NV - 1 ? V::store(to, sum[i][j], x.tail) : V::store(to, sum[i][j]);
        }
}

template <class T>
using Tile = void (*)(const Product<T>&);

template <class T, int... I>
struct TileTable {
    static constexpr Tile<T> of[sizeof...(I)][2] = {{tile<T, I + 1, 1>, tile<T, I + 1, 2>}...};
};

#define LETTRINE_COUNT_6 0, 1, 2, 3, 4, 5
#define LETTRINE_COUNT_14 LETTRINE_COUNT_6, 6, 7, 8, 9, 10, 11, 12, 13
#define LETTRINE_COUNT(n) LETTRINE_COUNT_##n
#define LETTRINE_ROWS_UP_TO(n) LETTRINE_COUNT(n)

// C[m, n] for m in [0, M), n in [0, N), N <= panel_width. `rows` (M) with Start::rows, `scale` with Start::scaled.
// Rows of B are read in whole vectors. Of each row of C, N numbers are written.
template <class T>
void product(Index M, Index N, Index depth, Operand<T> a, const T* b, Index b_row, T* c, Index c_row, Start start,
             const T* rows = nullptr, T scale = T(1)) {
    constexpr int W = Vector<T>::width;
    constexpr Index most = LETTRINE_TILE_ROWS;
    const int wide = N > W;
    if (start == Start::scaled && scale == T(1)) start = Start::added;
    Product<T> x{depth, a, b, b_row, c, c_row, static_cast<int>(N - wide * W), start, rows, scale};
    for (Index tiles = (M + most - 1) / most; tiles > 0; --tiles) {
        const Index height = (M + tiles - 1) / tiles;  // nearly equal heights: 27 rows are 14 + 13, not 14 + 12 + 1
        TileTable<T, LETTRINE_ROWS_UP_TO(LETTRINE_TILE_ROWS)>::of[height - 1][wide](x);
        x.a.data += height * a.row;
        x.c += height * c_row;
        if (rows) x.rows += height;
        M -= height;
    }
}

#if defined(__clang__) || __GNUC__ >= 12
template <class T, int Distance, int... J>
LETTRINE_INLINE void exchange(typename Vector<T>::Value& a, typename Vector<T>::Value& b) {
    constexpr int W = Vector<T>::width;
    const auto low = __builtin_shufflevector(a, b, (J & Distance ? W + J - Distance : J)...);
    const auto high = __builtin_shufflevector(a, b, (J & Distance ? W + J : J + Distance)...);
    a = low;
    b = high;
}

template <class T, int Distance>
LETTRINE_INLINE void exchange_lanes(typename Vector<T>::Value& a, typename Vector<T>::Value& b) {
    constexpr int W = Vector<T>::width;
    if constexpr (W == 16)
        exchange<T, Distance, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>(a, b);
    else if constexpr (W == 8)
        exchange<T, Distance, 0, 1, 2, 3, 4, 5, 6, 7>(a, b);
    else if constexpr (W == 4)
        exchange<T, Distance, 0, 1, 2, 3>(a, b);
    else
        exchange<T, Distance, 0, 1>(a, b);
}

template <class T, int Distance>
LETTRINE_INLINE void transpose_stage(typename Vector<T>::Value* v) {
    constexpr int W = Vector<T>::width;
    if constexpr (Distance < W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i)
            if (!(i & Distance)) exchange_lanes<T, Distance>(v[i], v[i + Distance]);
        transpose_stage<T, 2 * Distance>(v);
    }
}

// v[0][i] becomes the sum of the lanes of v[i]. Each step adds two halves.
template <class T, int Distance = 1>
LETTRINE_INLINE void sum_lanes(typename Vector<T>::Value* v) {
    constexpr int W = Vector<T>::width;
    if constexpr (Distance < W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i += 2 * Distance) {
            exchange_lanes<T, Distance>(v[i], v[i + Distance]);
            v[i] += v[i + Distance];
        }
        sum_lanes<T, 2 * Distance>(v);
    }
}

// Transposes width x width numbers in registers, by exchanging larger and larger blocks.
template <class T>
LETTRINE_INLINE void transpose_square(typename Vector<T>::Value* v) {
    transpose_stage<T, 1>(v);
}
#else
template <class T>
LETTRINE_INLINE void transpose_square(typename Vector<T>::Value* v) {
    constexpr int W = Vector<T>::width;
    for (int i = 0; i < W; ++i)
        for (int j = 0; j < i; ++j) {
            const T x = v[i][j];
            v[i][j] = v[j][i];
            v[j][i] = x;
        }
}

template <class T>
LETTRINE_INLINE void sum_lanes(typename Vector<T>::Value* v) {
    typename Vector<T>::Value sums{};
    for (int i = 0; i < Vector<T>::width; ++i) sums[i] = Vector<T>::sum(v[i]);
    v[0] = sums;
}
#endif

// to[j, i] = from[i, j] for one square.
template <class T>
LETTRINE_INLINE void transpose_block(const T* from, Index from_row, T* to, Index to_row) {
    using V = Vector<T>;
    typename V::Value v[V::width];
#pragma GCC unroll 16
    for (int i = 0; i < V::width; ++i) v[i] = V::load(from + i * from_row);
    transpose_square<T>(v);
#pragma GCC unroll 16
    for (int i = 0; i < V::width; ++i) V::store(to + i * to_row, v[i]);
}

}  // namespace lettrine::LETTRINE_NAMESPACE
