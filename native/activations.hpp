// The kernels of the activations on vectors, without branches. If a name of `activation_names.hpp` has no kernel, this does not compile.

#pragma once

#include "activation_names.hpp"
#include "functions.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// torch's constants (Klambauer et al. 2017).
constexpr double selu_scale = 1.0507009873554804934193349852946;
constexpr double selu_alpha = 1.6732632423543772848170429916717;
constexpr double leaky_slope = 0.01;
constexpr double gelu_inner = 0.7978845608028653558798921198687;  // sqrt(2 / pi)
constexpr double gelu_cubic = 0.044715;
constexpr double mish_linear = 20;  // from here on mish(x) is x to the last digit of a double
template <class T>
constexpr T expm1_floor = sizeof(T) == 4 ? T(-87) : T(-700);  // below it e^x is no normal number

// `of(x)` is the activation of x and `slope(seen)` its derivative. `seen` is what the forward pass keeps: the activation `a`,
// or x itself if `slope_of_input`. Comparisons are written so that NaN passes through.
template <Activation A, class T>
struct Kernel;

template <class T>
struct Kernel<Activation::identity, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return x; }
    static LETTRINE_INLINE Value slope(Value) { return V::set(1); }
};

template <class T>
struct Kernel<Activation::sigmoid, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return V::set(1) / (V::set(1) + exp<T>(-x)); }
    static LETTRINE_INLINE Value slope(Value a) { return a - a * a; }
};

template <class T>
struct Kernel<Activation::tanh, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return lettrine::LETTRINE_NAMESPACE::tanh<T>(x); }
    static LETTRINE_INLINE Value slope(Value a) { return V::set(1) - a * a; }
};

template <class T>
struct Kernel<Activation::softsign, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return x / (V::set(1) + V::max(-x, x)); }
    static LETTRINE_INLINE Value slope(Value a) {
        const auto rest = V::set(1) - V::max(-a, a);
        return rest * rest;
    }
};

template <class T>
struct Kernel<Activation::relu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return V::max(V::zero(), x); }
    static LETTRINE_INLINE Value slope(Value a) { return a > V::zero() ? V::set(1) : V::zero(); }
};

template <class T>
struct Kernel<Activation::leaky_relu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) { return x < V::zero() ? x * V::set(T(leaky_slope)) : x; }
    static LETTRINE_INLINE Value slope(Value a) { return a > V::zero() ? V::set(1) : V::set(T(leaky_slope)); }
};

template <class T>
struct Kernel<Activation::gelu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = true;
    static LETTRINE_INLINE Value of(Value x) { return x * V::set(T(0.5)) * (V::set(1) + inner(x)); }
    static LETTRINE_INLINE Value slope(Value x) {
        const auto one = V::set(1), t = inner(x);
        const auto steep = V::set(T(gelu_inner)) * (one + x * x * V::set(T(3 * gelu_cubic)));
        return V::set(T(0.5)) * (one + t + x * (one - t * t) * steep);
    }

private:
    static LETTRINE_INLINE Value inner(Value x) {
        return lettrine::LETTRINE_NAMESPACE::tanh<T>(x * V::set(T(gelu_inner)) * (V::set(1) + x * x * V::set(T(gelu_cubic))));
    }
};

template <class T>
struct Kernel<Activation::silu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = true;
    static LETTRINE_INLINE Value of(Value x) { return x * Kernel<Activation::sigmoid, T>::of(x); }
    static LETTRINE_INLINE Value slope(Value x) {
        const auto one = V::set(1), s = Kernel<Activation::sigmoid, T>::of(x);
        return s * (one + x * (one - s));
    }
};

template <class T>
struct Kernel<Activation::mish, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = true;
    static LETTRINE_INLINE Value of(Value x) {
        const auto n = parts(x).n;
        return x * (n / (n + V::set(2)));
    }
    static LETTRINE_INLINE Value slope(Value x) {
        const auto one = V::set(1), edge = V::set(T(mish_linear));
        const auto [e, n] = parts(x);
        const auto whole = n + V::set(2);
        const auto y = n / whole + V::min(edge, x) * V::set(4) * e * (e + one) / (whole * whole);
        return x > edge ? one : y;
    }

private:
    // e = e^x and n = e (e + 2), of which tanh(softplus(x)) = n / (n + 2).
    struct Parts {
        Value e, n;
    };
    static LETTRINE_INLINE Parts parts(Value x) {
        const auto e = x < V::set(expm1_floor<T>) ? V::zero() : exp<T>(V::min(V::set(T(mish_linear)), x));
        return {e, e * (e + V::set(2))};
    }
};

template <class T>
struct Kernel<Activation::elu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) {
        const auto low = expm1<T>(V::max(V::set(expm1_floor<T>), V::min(V::zero(), x)));
        return x > V::zero() ? x : low;
    }
    static LETTRINE_INLINE Value slope(Value a) { return a > V::zero() ? V::set(1) : a + V::set(1); }
};

template <class T>
struct Kernel<Activation::selu, T> {
    using V = Vector<T>;
    using Value = typename V::Value;
    static constexpr bool slope_of_input = false;
    static LETTRINE_INLINE Value of(Value x) {
        const auto low = expm1<T>(V::max(V::set(expm1_floor<T>), V::min(V::zero(), x)));
        return x > V::zero() ? x * V::set(T(selu_scale)) : low * V::set(T(selu_scale * selu_alpha));
    }
    static LETTRINE_INLINE Value slope(Value a) { return a > V::zero() ? V::set(T(selu_scale)) : a + V::set(T(selu_scale * selu_alpha)); }
};

template <Activation A>
struct Constant {
    static constexpr Activation value = A;
};

// Calls body with the activation as a type, so that its loops have no branch.
template <class Body>
LETTRINE_INLINE auto with_activation(Activation activation, Body body) {
    switch (activation) {
#define LETTRINE_CASE(id, name) \
    case Activation::id: return body(Constant<Activation::id>{});
        LETTRINE_ACTIVATIONS(LETTRINE_CASE)
#undef LETTRINE_CASE
    }
    __builtin_unreachable();
}

// Whether the backward pass needs the input of the activation, beside its output.
template <class T>
bool slope_of_input(Activation activation) {
    return with_activation(activation, [](auto constant) { return Kernel<decltype(constant)::value, T>::slope_of_input; });
}

}  // namespace lettrine::LETTRINE_NAMESPACE
