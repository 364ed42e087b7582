// The figures of moments.hpp, for one instruction set. Sums are in double for all types of values.

#pragma once

#include "moments.hpp"
#include "vector.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// One vector of T as one or two vectors of double.
template <class T>
constexpr int halves = Vector<T>::width / Vector<double>::width;

template <class T>
LETTRINE_INLINE Vector<double>::Value widened(const T* values) {
    typedef T Some __attribute__((vector_size(Vector<double>::width * sizeof(T)), aligned(sizeof(T)), may_alias));
    return __builtin_convertvector(*reinterpret_cast<const Some*>(values), Vector<double>::Value);
}

// The sums of one pass over an array, of x - origin. With origin 0 one pass is enough, unless the mean is many times the std: then
// the squares would lose digits, and a second pass takes the mean as origin.
struct Sums {
    double total = 0, squares = 0, low = __builtin_inf(), high = -__builtin_inf(), zeros = 0;

    // Whether these sums give the sum of (x - mean)^2 with all digits but three.
    bool steady(double count) const { return squares - total * (total / count) > 1e-3 * squares || squares == 0; }

    // Whether this is so for sums whose parts were added in float32: no digits lost, no square too small for a float.
    bool trusted(double count) const {
        const double top = high > -low ? high : -low;
        return (squares - total * (total / count) > 0.02 * squares && top > 1e-15) || (low == 0 && high == 0);
    }

    void see(double x, double origin) {
        const double gap = x - origin;
        total += gap;
        squares += gap * gap;
        low = x < low ? x : low;
        high = x > high ? x : high;
        zeros += x == 0;
    }
};

template <class T, bool centred>
Sums sums_of(const T* values, Index size, double origin) {
    using V = Vector<T>;
    using D = Vector<double>;
    constexpr int chains = 2, wide = chains * halves<T>;
    const auto from = D::set(origin);
    D::Value totals[wide], squares[wide];
    typename V::Value low = V::set(static_cast<T>(__builtin_inf())), high = -low;
    for (int j = 0; j < wide; ++j) totals[j] = squares[j] = D::zero();
    Sums sums;
    Index i = 0, zeros = 0;
    for (; i + chains * V::width <= size; i += chains * V::width) {
#pragma GCC unroll 2
        for (int j = 0; j < chains; ++j) {
            const auto x = V::load(values + i + j * V::width);
            low = V::min(x, low);
            high = V::max(x, high);
            zeros += V::zeros(x);
        }
#pragma GCC unroll 4
        for (int j = 0; j < wide; ++j) {
            auto gap = widened<T>(values + i + j * D::width);
            if constexpr (centred) gap -= from;
            totals[j] += gap;
            squares[j] += gap * gap;
        }
    }
    for (int j = 0; j < wide; ++j) {
        sums.total += D::sum(totals[j]);
        sums.squares += D::sum(squares[j]);
    }
    for (int k = 0; k < V::width; ++k) {
        sums.low = static_cast<double>(low[k]) < sums.low ? static_cast<double>(low[k]) : sums.low;
        sums.high = static_cast<double>(high[k]) > sums.high ? static_cast<double>(high[k]) : sums.high;
    }
    sums.zeros = static_cast<double>(zeros);
    for (; i < size; ++i) sums.see(static_cast<double>(values[i]), origin);
    return sums;
}

// The same for values - minus, which is computed in double.
template <class T, bool centred>
Sums sums_of_difference(const T* values, const T* minus, Index size, double origin) {
    using D = Vector<double>;
    constexpr int chains = 2;
    const auto from = D::set(origin);
    D::Value totals[chains], squares[chains], low = D::set(__builtin_inf()), high = -low;
    for (int j = 0; j < chains; ++j) totals[j] = squares[j] = D::zero();
    Sums sums;
    Index i = 0, zeros = 0;
    for (; i + chains * D::width <= size; i += chains * D::width)
#pragma GCC unroll 2
        for (int j = 0; j < chains; ++j) {
            const auto x = widened<T>(values + i + j * D::width) - widened<T>(minus + i + j * D::width);
            auto gap = x;
            if constexpr (centred) gap -= from;
            low = D::min(x, low);
            high = D::max(x, high);
            zeros += D::zeros(x);
            totals[j] += gap;
            squares[j] += gap * gap;
        }
    for (int j = 0; j < chains; ++j) {
        sums.total += D::sum(totals[j]);
        sums.squares += D::sum(squares[j]);
    }
    for (int k = 0; k < D::width; ++k) {
        sums.low = low[k] < sums.low ? low[k] : sums.low;
        sums.high = high[k] > sums.high ? high[k] : sums.high;
    }
    sums.zeros = static_cast<double>(zeros);
    for (; i < size; ++i) sums.see(static_cast<double>(values[i]) - static_cast<double>(minus[i]), origin);
    return sums;
}

// The same, where eight numbers of a lane are added in float32 before their sum becomes a double. It takes half the time and is right
// to six digits if `trusted` says so.
template <bool difference>
Sums quick_sums(const float* values, const float* minus, Index size) {
    using V = Vector<float>;
    using D = Vector<double>;
    constexpr int chains = 2, block = 8, step = chains * V::width;
    D::Value totals[halves<float>], squares[halves<float>];
    V::Value low[chains], high[chains];
    for (int h = 0; h < halves<float>; ++h) totals[h] = squares[h] = D::zero();
    for (int j = 0; j < chains; ++j) {
        low[j] = V::set(__builtin_inff());
        high[j] = -low[j];
    }
    Index i = 0, zeros = 0;
    while (i + step <= size) {
        const Index end = i + block * step <= size ? i + block * step : i + (size - i) / step * step;
        V::Value some[chains], of_squares[chains];
        for (int j = 0; j < chains; ++j) some[j] = of_squares[j] = V::zero();
        for (; i < end; i += step)
#pragma GCC unroll 2
            for (int j = 0; j < chains; ++j) {
                auto x = V::load(values + i + j * V::width);
                if constexpr (difference) x -= V::load(minus + i + j * V::width);
                low[j] = V::min(x, low[j]);
                high[j] = V::max(x, high[j]);
                zeros += V::zeros(x);
                some[j] += x;
                of_squares[j] += x * x;
            }
        float lanes[2][V::width];
        V::store(lanes[0], some[0] + some[1]);
        V::store(lanes[1], of_squares[0] + of_squares[1]);
        for (int h = 0; h < halves<float>; ++h) {
            totals[h] += widened<float>(lanes[0] + h * D::width);
            squares[h] += widened<float>(lanes[1] + h * D::width);
        }
    }
    Sums sums;
    for (int h = 0; h < halves<float>; ++h) {
        sums.total += D::sum(totals[h]);
        sums.squares += D::sum(squares[h]);
    }
    const auto lowest = V::min(low[0], low[1]), highest = V::max(high[0], high[1]);
    for (int k = 0; k < V::width; ++k) {
        sums.low = static_cast<double>(lowest[k]) < sums.low ? static_cast<double>(lowest[k]) : sums.low;
        sums.high = static_cast<double>(highest[k]) > sums.high ? static_cast<double>(highest[k]) : sums.high;
    }
    sums.zeros = static_cast<double>(zeros);
    for (; i < size; ++i) sums.see(difference ? static_cast<double>(values[i]) - static_cast<double>(minus[i]) : static_cast<double>(values[i]), 0);
    return sums;
}

template <class T>
Moments moments(const T* values, const T* minus, Index size) {
    const double nan = __builtin_nan("");
    const auto single = [&](Index i) { return static_cast<double>(values[i]) - (minus ? static_cast<double>(minus[i]) : 0.0); };
    double origin = 0, lost = 0;
    Sums sums;
    if constexpr (sizeof(T) == sizeof(float)) sums = minus ? quick_sums<true>(values, minus, size) : quick_sums<false>(values, minus, size);
    if (sizeof(T) != sizeof(float) || !sums.trusted(static_cast<double>(size)))
        sums = minus ? sums_of_difference<T, false>(values, minus, size, origin) : sums_of<T, false>(values, size, origin);
    if (__builtin_isfinite(sums.squares) && !sums.steady(static_cast<double>(size))) {
        origin = sums.total / static_cast<double>(size);
        sums = minus ? sums_of_difference<T, true>(values, minus, size, origin) : sums_of<T, true>(values, size, origin);
    }
    if (!__builtin_isfinite(sums.squares)) {  // a value is not finite, or a square overflows: the slow way, without it
        Index i = 0;
        while (i < size && !__builtin_isfinite(single(i))) ++i;
        origin = i < size ? single(i) : 0;
        sums = Sums{};
        for (i = 0; i < size; ++i) {
            if (__builtin_isfinite(single(i)))
                sums.see(single(i), origin);
            else
                ++lost;
        }
    }
    const double count = static_cast<double>(size) - lost;
    if (count == 0) return {0, nan, nan, nan, nan, nan, 0, lost};
    const double gap = sums.total / count, mean = origin + gap;
    const double rest = sums.squares - sums.total * gap, deviation = rest < 0 ? 0 : rest;
    const double std = count > 1 ? __builtin_sqrt(deviation / (count - 1)) : nan;
    return {count, mean, std, __builtin_sqrt(mean * mean + deviation / count), sums.low, sums.high, sums.zeros, lost};
}

// The limit in T that gives the same answers as this limit in double.
template <class T>
T least_at_or_above(double limit) {
    T x = static_cast<T>(limit);
    return static_cast<double>(x) < limit ? Vector<T>::next(x, true) : x;
}

template <class T>
T most_at_or_below(double limit) {
    T x = static_cast<T>(limit);
    return static_cast<double>(x) > limit ? Vector<T>::next(x, false) : x;
}

template <class T>
void zone_counts(const T* values, Index rows, Index units, const Zone& zone, std::int64_t* counts) {
    using V = Vector<T>;
    const double inf = __builtin_inf();
    constexpr T greatest = sizeof(T) == 4 ? T(3.40282346638528859812e38) : T(1.79769313486231570815e308);
    // Inside is one range, outside are two. Infinities are in none, so every range ends at the greatest finite number.
    const auto above = [&](double limit) { return limit <= -inf ? -greatest : least_at_or_above<T>(limit); };
    const auto below = [&](double limit) { return limit >= inf ? greatest : most_at_or_below<T>(limit); };
    const auto low1 = V::set(zone.inside ? above(zone.low) : -greatest), high1 = V::set(zone.inside ? below(zone.high) : below(zone.low));
    const auto low2 = V::set(zone.inside ? above(zone.low) : above(zone.high)), high2 = V::set(zone.inside ? below(zone.high) : greatest);
    const auto inside = [&](typename V::Value x) { return ((x >= low1) & (x <= high1)) | ((x >= low2) & (x <= high2)); };
    for (Index u = 0; u < units; u += V::width) {
        const int n = static_cast<int>(units - u < V::width ? units - u : V::width);
        typename V::Bits found{};
        if (n == V::width)
            for (Index r = 0; r < rows; ++r) found -= inside(V::load(values + r * units + u));
        else
            for (Index r = 0; r < rows; ++r) found -= inside(V::load(values + r * units + u, n));
        for (int k = 0; k < n; ++k) counts[u + k] = found[k];
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
