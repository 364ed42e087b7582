// One SIMD vector type for every instruction set.
//
// GCC and Clang have arithmetic, comparison and selection on vectors of any size, so one template serves
// AVX-512 (64 bytes), AVX2 (32), NEON and the portable build (16). Only operations that they compile badly are intrinsics.
// Everything is in a namespace named after the instruction set. This header is compiled once for each set, and with
// equal names the linker could use AVX-512 code in the portable build. For the same reason nothing here uses a
// template of the standard library.

#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

#ifndef LETTRINE_NAMESPACE
#error "compile with LETTRINE_NAMESPACE, LETTRINE_VECTOR_BYTES and LETTRINE_TILE_ROWS"
#endif

#define LETTRINE_INLINE inline __attribute__((always_inline))

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
    using type = std::int32_t;
};
template <>
struct IntegerOf<double> {
    using type = std::int64_t;
};

template <class T>
struct Vector {
    static constexpr int bytes = LETTRINE_VECTOR_BYTES;
    static constexpr int width = bytes / static_cast<int>(sizeof(T));
    using Scalar = T;
    using Integer = typename IntegerOf<T>::type;
    typedef T Value __attribute__((vector_size(LETTRINE_VECTOR_BYTES)));
    typedef Integer Bits __attribute__((vector_size(LETTRINE_VECTOR_BYTES)));
    typedef T Unaligned __attribute__((vector_size(LETTRINE_VECTOR_BYTES), aligned(sizeof(T)), may_alias));

    // Not Value{} + x: this is no copy (it loses the sign of -0), and costs an addition in every inner loop.
    static LETTRINE_INLINE Value set(T x) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm512_set1_ps(x));
        else
            return reinterpret_cast<Value>(_mm512_set1_pd(x));
#elif LETTRINE_VECTOR_BYTES == 32
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm256_set1_ps(x));
        else
            return reinterpret_cast<Value>(_mm256_set1_pd(x));
#else
        if constexpr (sizeof(T) == 4)
            return Value{x, x, x, x};
        else
            return Value{x, x};
#endif
    }
    static LETTRINE_INLINE Value zero() { return Value{}; }
    static LETTRINE_INLINE Value load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
    static LETTRINE_INLINE void store(T* p, Value v) { *reinterpret_cast<Unaligned*>(p) = v; }

    static LETTRINE_INLINE Bits lanes() {
        Bits index{};
        for (int i = 0; i < width; ++i) index[i] = i;
        return index;
    }
    // The first n lanes of v, zero in the others.
    static LETTRINE_INLINE Value keep(Value v, int n) { return lanes() < static_cast<Integer>(n) ? v : Value{}; }

    // The first n numbers, 0 <= n <= width, without reading beyond them; zero in the other lanes.
    static LETTRINE_INLINE Value load(const T* p, int n) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p));
        else
            return reinterpret_cast<Value>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p));
#elif LETTRINE_VECTOR_BYTES == 32
        const Bits mask = lanes() < static_cast<Integer>(n);
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm256_maskload_ps(p, reinterpret_cast<__m256i>(mask)));
        else
            return reinterpret_cast<Value>(_mm256_maskload_pd(p, reinterpret_cast<__m256i>(mask)));
#else
        if (n == width) return load(p);
        Value v{};
        for (int i = 0; i < n; ++i) v[i] = p[i];
        return v;
#endif
    }
    static LETTRINE_INLINE void store(T* p, Value v, int n) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), reinterpret_cast<__m512>(v));
        else
            _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), reinterpret_cast<__m512d>(v));
#else
        // Not maskstore: on AMD it takes dozens of micro-operations.
        if (n == width) return store(p, v);
        for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
    }

    // Both give the second operand if one is NaN, so a NaN in x survives max(low, x).
    static LETTRINE_INLINE Value max(Value a, Value b) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm512_max_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
        else
            return reinterpret_cast<Value>(_mm512_max_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#else
        return a > b ? a : b;
#endif
    }
    static LETTRINE_INLINE Value min(Value a, Value b) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm512_min_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
        else
            return reinterpret_cast<Value>(_mm512_min_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#else
        return a < b ? a : b;
#endif
    }
    static LETTRINE_INLINE Value sqrt(Value v) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm512_sqrt_ps(reinterpret_cast<__m512>(v)));
        else
            return reinterpret_cast<Value>(_mm512_sqrt_pd(reinterpret_cast<__m512d>(v)));
#elif LETTRINE_VECTOR_BYTES == 32
        if constexpr (sizeof(T) == 4)
            return reinterpret_cast<Value>(_mm256_sqrt_ps(reinterpret_cast<__m256>(v)));
        else
            return reinterpret_cast<Value>(_mm256_sqrt_pd(reinterpret_cast<__m256d>(v)));
#else
        for (int i = 0; i < width; ++i) v[i] = sizeof(T) == 4 ? __builtin_sqrtf(static_cast<float>(v[i])) : __builtin_sqrt(v[i]);
        return v;
#endif
    }
    // The number of lanes that are 0.
    static LETTRINE_INLINE Integer zeros(Value v) {
#if LETTRINE_VECTOR_BYTES == 64
        if constexpr (sizeof(T) == 4)
            return __builtin_popcount(_mm512_cmpeq_ps_mask(reinterpret_cast<__m512>(v), _mm512_setzero_ps()));
        else
            return __builtin_popcount(_mm512_cmpeq_pd_mask(reinterpret_cast<__m512d>(v), _mm512_setzero_pd()));
#elif LETTRINE_VECTOR_BYTES == 32
        const Bits found = v == Value{};
        if constexpr (sizeof(T) == 4)
            return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(found))));
        else
            return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_pd(reinterpret_cast<__m256d>(found))));
#else
        const Bits found = v == Value{};
        Integer total = 0;
        for (int i = 0; i < width; ++i) total -= found[i];
        return total;
#endif
    }
    // The number of T next to x.
    static T next(T x, bool up) {
        const T towards = up ? static_cast<T>(__builtin_inf()) : -static_cast<T>(__builtin_inf());
        return sizeof(T) == 4 ? static_cast<T>(__builtin_nextafterf(static_cast<float>(x), static_cast<float>(towards)))
                              : static_cast<T>(__builtin_nextafter(static_cast<double>(x), static_cast<double>(towards)));
    }
    static LETTRINE_INLINE T sum(Value v) {
        T total = v[0];
        for (int i = 1; i < width; ++i) total += v[i];
        return total;
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
