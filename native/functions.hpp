// exp, expm1 and tanh on vectors, without branches.

#pragma once

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

#if LETTRINE_VECTOR_BYTES == 64
// tanh(x) = |x| g(|x|) with the sign of x. Near each quarter k/4, g is a polynomial of degree 4 in the distance from it.
// For 32 quarters the coefficients fit into registers: half the time of an exponential and a division.
// Relative error 3e-7, and exactly 1 past 7.874.
alignas(64) static constexpr float tanh_table[5][32] = {
    {1.0f, 0.979674637f, 0.924234331f, 0.846865296f, 0.761594176f, 0.678626895f, 0.603432178f, 0.537928879f,
     0.482013792f, 0.434678286f, 0.394645721f, 0.360676259f, 0.331684917f, 0.306768507f, 0.285193682f, 0.266371846f,
     0.249832332f, 0.235198393f, 0.222167388f, 0.210494801f, 0.199981838f, 0.190465704f, 0.181812108f, 0.173909515f,
     0.166664615f, 0.159998804f, 0.153845459f, 0.148147747f, 0.142856911f, 0.1379309f, 0.133333251f, 0.12903221f},
    {0.0f, -0.15863438f, -0.275568515f, -0.333704352f, -0.341620386f, -0.318570793f, -0.281817943f, -0.242352992f,
     -0.205681756f, -0.173872709f, -0.147221431f, -0.125258893f, -0.107272945f, -0.0925454572f, -0.080443643f, -0.0704431757f,
     -0.062122833f, -0.0551493652f, -0.049260851f, -0.0442516655f, -0.0399600491f, -0.0362581983f, -0.033044599f, -0.0302380845f,
     -0.0277733393f, -0.0255974233f, -0.0236671399f, -0.0219470002f, -0.0204076543f, -0.019024672f, -0.0177776031f, -0.016649222f},
    {-0.333325982f, -0.286346257f, -0.175717622f, -0.060290724f, 0.0217671953f, 0.0645577461f, 0.0788337737f, 0.0772644877f,
     0.0687862486f, 0.0583835803f, 0.0483941212f, 0.0397006199f, 0.0324852578f, 0.0266362429f, 0.0219455492f, 0.0181961991f,
     0.0151956985f, 0.0127849793f, 0.0108372131f, 0.00925312657f, 0.00795569643f, 0.00688534603f, 0.00599596277f, 0.00525175082f,
     0.00462479377f, 0.00409320276f, 0.00363970757f, 0.00325059495f, 0.00291490392f, 0.00262381439f, 0.00237018405f, 0.00214819075f},
    {0.0f, 0.116363786f, 0.161839485f, 0.135720879f, 0.0819841027f, 0.0352955684f, 0.00622233376f, -0.0080565894f,
     -0.0132693555f, -0.0138807027f, -0.0125408871f, -0.0106020821f, -0.00867237523f, -0.00698162569f, -0.00558479456f, -0.00446442608f,
     -0.00357884332f, -0.00288310181f, -0.00233702199f, -0.00190743164f, -0.00156801881f, -0.00129835086f, -0.00108273199f, -0.000909161521f,
     -0.00076847052f, -0.000653640833f, -0.0005592815f, -0.000481231604f, -0.000416262483f, -0.000361853541f, -0.000316025049f, -0.000277211977f},
    {0.132076278f, 0.0876038447f, 0.0037300894f, -0.0478492193f, -0.0537918061f, -0.0380134061f, -0.0206802264f, -0.00881147105f,
     -0.002314982f, 0.000683196762f, 0.00178930117f, 0.00199542847f, 0.00182888692f, 0.00154409313f, 0.00125212746f, 0.000994906644f,
     0.000783090713f, 0.000614521734f, 0.000482712203f, 0.000380502373f, 0.000301461841f, 0.000240289111f, 0.000192797757f, 0.000155757836f,
     0.000126708168f, 0.000103784652f, 8.55779581e-05f, 7.10217791e-05f, 5.93071018e-05f, 4.98177396e-05f, 4.2082087e-05f, 3.57372483e-05f},
};

LETTRINE_INLINE __m512 tanh_by_table(__m512 x) {
    const auto look_up = [](__m512i at, const float* table) {
        return _mm512_permutex2var_ps(_mm512_load_ps(table), at, _mm512_load_ps(table + 16));
    };
    const __m512 edge = _mm512_set1_ps(7.874f), size = _mm512_min_ps(edge, _mm512_abs_ps(x));
    const __m512 magic = _mm512_set1_ps(8388608.0f);
    const __m512 shifted = _mm512_fmadd_ps(size, _mm512_set1_ps(4.0f), magic);  // the nearest quarter in the lowest bits
    const __m512i at = _mm512_castps_si512(shifted);
    const __m512 gap = _mm512_fnmadd_ps(_mm512_sub_ps(shifted, magic), _mm512_set1_ps(0.25f), size);
    __m512 g = look_up(at, tanh_table[4]);
    g = _mm512_fmadd_ps(g, gap, look_up(at, tanh_table[3]));
    g = _mm512_fmadd_ps(g, gap, look_up(at, tanh_table[2]));
    g = _mm512_fmadd_ps(g, gap, look_up(at, tanh_table[1]));
    g = _mm512_fmadd_ps(g, gap, look_up(at, tanh_table[0]));
    // Exactly 1 beyond the edge: gelu multiplies any rest of 1 - tanh(x) by x, however large x is.
    const __m512 value = _mm512_mask_mov_ps(_mm512_mul_ps(g, size), _mm512_cmp_ps_mask(size, edge, _CMP_GE_OQ), _mm512_set1_ps(1.0f));
    return _mm512_or_ps(value, _mm512_and_ps(x, _mm512_set1_ps(-0.0f)));
}
#endif

// (e^2x - 1) / (e^2x + 1). Beyond the clamps the quotient is 1 to the last bit.
template <class T>
LETTRINE_INLINE typename Vector<T>::Value tanh(typename Vector<T>::Value x) {
    using V = Vector<T>;
#if LETTRINE_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4) return reinterpret_cast<typename V::Value>(tanh_by_table(reinterpret_cast<__m512>(x)));
#endif
    const auto edge = V::set(sizeof(T) == 4 ? T(10) : T(20));
    const auto held = V::min(edge, V::max(-edge, x));
    const auto e = expm1<T>(held + held);
    return e / (e + V::set(2));
}

}  // namespace lettrine::LETTRINE_NAMESPACE
