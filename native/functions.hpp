// exp, tanh and the activations on vectors, without branches.

#pragma once

#include "mlp.hpp"
#include "vector.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// x = n ln 2 + r with |r| <= ln(2)/2; e^x - 1 = 2^n (e^r - 1) + (2^n - 1), where e^r - 1 = r + r^2 q(r).
// float: q of degree 4 fitted to a relative error of 1.4e-8. double: the Taylor series, to 2e-16.
template <class T>
struct Reduced {
    typename Vector<T>::Value small;  // e^r - 1
    typename Vector<T>::Value power;  // 2^n
};

template <class T>
LETTRINE_INLINE Reduced<T> reduce(typename Vector<T>::Value x) {
    using V = Vector<T>;
    using Value = typename V::Value;
    using Bits = typename V::Bits;
    constexpr bool single = sizeof(T) == 4;
    // Adding 1.5 * 2^(mantissa bits) rounds to a whole number and leaves it in the low bits.
    const Value magic = V::set(single ? T(12582912.0) : T(6755399441055744.0));
    const Value shifted = x * V::set(T(1.4426950408889634)) + magic;
    const Value n = shifted - magic;
    const Value r = (x - n * V::set(single ? T(0.693359375) : T(6.93145751953125e-1))) -
                    n * V::set(single ? T(-2.12194440054690583e-4) : T(1.42860682030941723212e-6));
    Value q;
    if constexpr (single) {
        q = V::set(T(1.3946470571681857e-3));
        q = q * r + V::set(T(8.366597816348076e-3));
        q = q * r + V::set(T(4.166628047823906e-2));
        q = q * r + V::set(T(1.666654348373413e-1));
        q = q * r + V::set(T(0.5));
    } else {
        q = V::set(T(1.0 / 479001600.0));
        q = q * r + V::set(T(1.0 / 39916800.0));
        q = q * r + V::set(T(1.0 / 3628800.0));
        q = q * r + V::set(T(1.0 / 362880.0));
        q = q * r + V::set(T(1.0 / 40320.0));
        q = q * r + V::set(T(1.0 / 5040.0));
        q = q * r + V::set(T(1.0 / 720.0));
        q = q * r + V::set(T(1.0 / 120.0));
        q = q * r + V::set(T(1.0 / 24.0));
        q = q * r + V::set(T(1.0 / 6.0));
        q = q * r + V::set(T(0.5));
    }
    constexpr int mantissa = single ? 23 : 52;
    const Bits exponent = (reinterpret_cast<Bits>(shifted) + static_cast<typename V::Integer>(single ? 127 : 1023)) << mantissa;
    return {r * r * q + r, reinterpret_cast<Value>(exponent)};
}

// e^x; below -87 (float) or -708 (double) the smallest normal number, above the range infinity. NaN stays NaN.
template <class T>
LETTRINE_INLINE typename Vector<T>::Value exp(typename Vector<T>::Value x) {
    using V = Vector<T>;
    constexpr bool single = sizeof(T) == 4;
    const auto high = V::set(single ? T(88.3) : T(709.0));
    const auto held = V::min(high, V::max(V::set(single ? T(-87.0) : T(-708.0)), x));
    const Reduced<T> e = reduce<T>(held);
    const auto y = e.small * e.power + e.power;
    return x > high ? V::set(static_cast<T>(__builtin_inf())) : y;
}

// e^x - 1 for |x| small enough not to overflow, relative to itself even near 0.
template <class T>
LETTRINE_INLINE typename Vector<T>::Value expm1(typename Vector<T>::Value x) {
    const Reduced<T> e = reduce<T>(x);
    return e.small * e.power + (e.power - Vector<T>::set(1));
}

// (e^2x - 1) / (e^2x + 1); past the clamps the quotient is 1 to the last bit.
template <class T>
LETTRINE_INLINE typename Vector<T>::Value tanh(typename Vector<T>::Value x) {
    using V = Vector<T>;
    const auto edge = V::set(sizeof(T) == 4 ? T(10) : T(20));
    const auto held = V::min(edge, V::max(-edge, x));
    const auto e = expm1<T>(held + held);
    return e * V::reciprocal(e + V::set(2));
}

// torch's constants (Klambauer et al. 2017).
constexpr double selu_scale = 1.0507009873554804934193349852946;
constexpr double selu_alpha = 1.6732632423543772848170429916717;
constexpr double leaky_slope = 0.01;
constexpr double gelu_inner = 0.7978845608028653558798921198687;  // sqrt(2 / pi)
constexpr double gelu_cubic = 0.044715;

// The activation of x. Comparisons are written so that NaN passes through.
template <class T, Activation A>
LETTRINE_INLINE typename Vector<T>::Value activate(typename Vector<T>::Value x) {
    using V = Vector<T>;
    const auto zero = V::zero();
    if constexpr (A == Activation::tanh) return tanh<T>(x);
    if constexpr (A == Activation::relu) return V::max(zero, x);
    if constexpr (A == Activation::leaky_relu) return x < zero ? x * V::set(T(leaky_slope)) : x;
    if constexpr (A == Activation::sigmoid) return V::set(1) / (V::set(1) + exp<T>(-x));
    if constexpr (A == Activation::selu) {
        const auto low = expm1<T>(V::max(V::set(sizeof(T) == 4 ? T(-87) : T(-700)), V::min(zero, x)));
        return x > zero ? x * V::set(T(selu_scale)) : low * V::set(T(selu_scale * selu_alpha));
    }
    if constexpr (A == Activation::gelu) {
        const auto inner = x * V::set(T(gelu_inner)) * (V::set(1) + x * x * V::set(T(gelu_cubic)));
        return x * V::set(T(0.5)) * (V::set(1) + tanh<T>(inner));
    }
    return x;
}

// d activate(x) / dx, from the activation a; gelu alone needs x itself.
template <class T, Activation A>
LETTRINE_INLINE typename Vector<T>::Value slope(typename Vector<T>::Value a) {
    using V = Vector<T>;
    const auto one = V::set(1), zero = V::zero();
    if constexpr (A == Activation::tanh) return one - a * a;
    if constexpr (A == Activation::relu) return a > zero ? one : zero;
    if constexpr (A == Activation::leaky_relu) return a > zero ? one : V::set(T(leaky_slope));
    if constexpr (A == Activation::sigmoid) return a - a * a;
    if constexpr (A == Activation::selu) return a > zero ? V::set(T(selu_scale)) : a + V::set(T(selu_scale * selu_alpha));
    if constexpr (A == Activation::gelu) {
        const auto x = a;
        const auto t = tanh<T>(x * V::set(T(gelu_inner)) * (one + x * x * V::set(T(gelu_cubic))));
        const auto inner = V::set(T(gelu_inner)) * (one + x * x * V::set(T(3 * gelu_cubic)));
        return V::set(T(0.5)) * (one + t + x * (one - t * t) * inner);
    }
    return one;
}

}  // namespace lettrine::LETTRINE_NAMESPACE
