// The figures of moments.hpp, for one instruction set. Sums are kept in double whatever the values are.

#pragma once

#include "moments.hpp"
#include "vector.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// `width` values as double; `minus`, where there is one, is taken away.
template <class T, bool Difference>
LETTRINE_INLINE Vector<double>::Value doubles(const T* values, const T* minus) {
    using V = Vector<double>;
    typedef T Some __attribute__((vector_size(V::width * sizeof(T)), aligned(sizeof(T)), may_alias));
    V::Value x = __builtin_convertvector(*reinterpret_cast<const Some*>(values), V::Value);
    if constexpr (Difference) x -= __builtin_convertvector(*reinterpret_cast<const Some*>(minus), V::Value);
    return x;
}

// Two passes, as the numpy definition makes them: the mean first, then squares of what is left. The first works out all
// else and whether everything is finite, which it is but for a network that breaks; only then is a slow loop taken.
template <class T, bool Difference>
Moments moments(const T* values, const T* minus, Index size) {
    using V = Vector<double>;
    constexpr int chains = 4;
    constexpr Index stride = chains * V::width;
    const double nan = __builtin_nan(""), inf = __builtin_inf();
    const auto vector = [&](Index i) { return doubles<T, Difference>(values + i, minus + i); };
    const auto single = [&](Index i) {
        if constexpr (Difference) return static_cast<double>(values[i]) - static_cast<double>(minus[i]);
        return static_cast<double>(values[i]);
    };
    V::Value totals[chains], lows[chains], highs[chains];
    V::Bits nones[chains];
    for (int j = 0; j < chains; ++j) {
        totals[j] = V::zero();
        lows[j] = V::set(inf);
        highs[j] = V::set(-inf);
        nones[j] = V::Bits{};
    }
    Index i = 0;
    for (; i + stride <= size; i += stride)
#pragma GCC unroll 4
        for (int j = 0; j < chains; ++j) {
            const auto x = vector(i + j * V::width);
            totals[j] += x;
            lows[j] = V::min(lows[j], x);
            highs[j] = V::max(highs[j], x);
            nones[j] -= x == V::zero();
        }
    const Index whole = i;
    double sum = 0, low = inf, high = -inf, zeros = 0;
    for (int j = 0; j < chains; ++j) {
        sum += V::sum(totals[j]);
        for (int k = 0; k < V::width; ++k) {
            low = lows[j][k] < low ? lows[j][k] : low;
            high = highs[j][k] > high ? highs[j][k] : high;
            zeros += static_cast<double>(nones[j][k]);
        }
    }
    const auto see = [&](double x) {
        sum += x;
        low = x < low ? x : low;
        high = x > high ? x : high;
        zeros += x == 0;
    };
    for (; i < size; ++i) see(single(i));
    double count = static_cast<double>(size), lost = 0, squares = 0;
    if (!__builtin_isfinite(sum)) {
        sum = zeros = 0;
        low = inf;
        high = -inf;
        for (i = 0; i < size; ++i) {
            const double x = single(i);
            if (__builtin_isfinite(x))
                see(x);
            else
                ++lost;
        }
        count -= lost;
    }
    if (count == 0) return {0, nan, nan, nan, nan, nan, 0, lost};
    const double mean = sum / count;
    i = 0;
    if (lost == 0) {
        for (int j = 0; j < chains; ++j) totals[j] = V::zero();
        for (; i < whole; i += stride)
#pragma GCC unroll 4
            for (int j = 0; j < chains; ++j) {
                const auto gap = vector(i + j * V::width) - mean;
                totals[j] += gap * gap;
            }
        for (int j = 0; j < chains; ++j) squares += V::sum(totals[j]);
    }
    for (; i < size; ++i) {
        const double x = single(i);
        if (__builtin_isfinite(x)) squares += (x - mean) * (x - mean);
    }
    const double std = count > 1 ? __builtin_sqrt(squares / (count - 1)) : nan;
    return {count, mean, std, __builtin_sqrt(mean * mean + squares / count), low, high, zeros, lost};
}

template <class T>
Moments moments_of(const T* values, const T* minus, Index size) {
    return minus ? moments<T, true>(values, minus, size) : moments<T, false>(values, nullptr, size);
}

template <class T>
void zone_counts(const T* values, Index rows, Index units, const Zone& zone, std::int64_t* counts) {
    for (Index u = 0; u < units; ++u) counts[u] = 0;
    const double inf = __builtin_inf();
    using V = Vector<double>;
    typedef V::Integer Counts __attribute__((vector_size(V::bytes), aligned(8), may_alias));
    for (Index r = 0; r < rows; ++r) {
        const T* at = values + r * units;
        Index u = 0;
        for (; u + V::width <= units; u += V::width) {
            const auto x = doubles<T, false>(at + u, nullptr);
            const V::Bits finite = (x > V::set(-inf)) & (x < V::set(inf));
            const V::Bits above = x >= V::set(zone.low), below = x <= V::set(zone.high);
            const V::Bits in = zone.inside ? above & below : (x <= V::set(zone.low)) | (x >= V::set(zone.high));
            *reinterpret_cast<Counts*>(counts + u) -= in & finite;
        }
        for (; u < units; ++u) {
            const double x = static_cast<double>(at[u]);
            const bool in = zone.inside ? x >= zone.low && x <= zone.high : x <= zone.low || x >= zone.high;
            counts[u] += in && __builtin_isfinite(x);
        }
    }
}

template <class T>
void histogram(const T* values, Index size, double low, double high, Index bins, std::int64_t* counts) {
    for (Index b = 0; b < bins; ++b) counts[b] = 0;
    const double scale = static_cast<double>(bins) / (high - low), top = static_cast<double>(bins - 1);
    for (Index i = 0; i < size; ++i) {
        const double x = static_cast<double>(values[i]);
        if (!__builtin_isfinite(x)) continue;
        const double place = (x - low) * scale;
        ++counts[static_cast<Index>(place < 0 ? 0 : place > top ? top : place)];
    }
}

}  // namespace lettrine::LETTRINE_NAMESPACE
