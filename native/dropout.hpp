// Dropout: masks are a hash of seed, step, layer, row and unit. The definition is src/lettrine/engine/dropout.py.

#pragma once

#include "layers.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// A bijection of 32 bits in which every bit depends on every other: Wellons 2018, "lowbias32".
LETTRINE_INLINE std::uint32_t mixed(std::uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

struct Masks {
    double rate;
    std::uint32_t key;

    Masks(const Dropout& dropout, std::int64_t step, Index layer) : rate(dropout.rate), key(0) {
        const std::uint64_t number = static_cast<std::uint64_t>(step);
        const std::uint64_t words[] = {dropout.seed, dropout.seed >> 32, number, number >> 32, static_cast<std::uint64_t>(layer)};
        for (const std::uint64_t word : words) key = mixed(key ^ static_cast<std::uint32_t>(word));
    }

    // For features [part) of every row: 0 or 1 / (1 - rate), as rows.
    template <class T>
    void fill(const Batch<T>& batch, Span part, T* mask) const {
        constexpr Index w = Vector<T>::width, W = panel_width<T>;
        const std::uint32_t below = static_cast<std::uint32_t>(rate * 4294967296.0);
        const T kept = static_cast<T>(1 / (1 - rate));
        for (Index f = part.begin; f < part.end; f += w) {
            T* to = mask + batch.row(f);
            for (Index b = 0; b < batch.count; ++b, to += W) {
                const std::uint32_t row = mixed(key ^ mixed(static_cast<std::uint32_t>(b)));
                for (Index i = 0; i < w; ++i) to[i] = mixed(row + static_cast<std::uint32_t>(f + i) * 0x9E3779B9u) >= below ? kept : T(0);
            }
        }
    }
};

// to = a * mask, as rows.
template <class T>
void drop(const Batch<T>& batch, Span part, const T* mask, const T* a, T* to) {
    using V = Vector<T>;
    constexpr Index W = panel_width<T>;
    for (Index f = part.begin; f < part.end; f += V::width)
        for (Index at = batch.row(f), b = 0; b < batch.count; ++b, at += W) V::store(to + at, V::load(a + at) * V::load(mask + at));
}

}  // namespace lettrine::LETTRINE_NAMESPACE
