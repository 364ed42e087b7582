// A context that occurs several times in a batch is computed once.
//
// Words share beginnings, so a batch has the same context several times (in names, one context in seven is all padding). And at one
// position only few characters occur. Both are counted here, before a step.

#pragma once

#include "mlp.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// The distinct contexts of a batch, in order of appearance. A row of the network's matrices is one of them.
struct Rows {
    std::int32_t* characters;      // (B, T) the distinct contexts
    const std::int32_t** context;  // (B,) where each of them is
    std::int32_t* weight;          // (B,) how many examples have it
    std::int32_t* begin;           // (B + 1,) a row's examples in the two arrays below
    std::int32_t* row;             // (B,)
    std::int32_t* target;          // (B,)
    std::int32_t* of;              // (B,) scratch: row of each example
    std::int32_t* slot;            // (slots,) scratch
    std::uint32_t* hash;           // (B,) scratch
    Index slots;                   // a power of two, twice B or more

    static Index slots_for(Index batch) {
        Index n = 16;
        while (n < 2 * batch) n *= 2;
        return n;
    }

    // Returns how many distinct contexts there are.
    Index find(const Examples& examples, const std::int64_t* indices, Index batch, Index length) {
        return examples.typed([&](const auto* contexts, const auto* targets) { return find_in(contexts, targets, indices, batch, length); });
    }

private:
    template <class U>
    Index find_in(const U* contexts, const U* targets, const std::int64_t* indices, Index batch, Index length) {
        for (Index i = 0; i < slots; ++i) slot[i] = -1;
        // First all that waits for memory, so that the waits overlap; then all that branches.
        for (Index b = 0; b < batch; ++b) {
            const U* const here = contexts + indices[b] * length;
            std::uint64_t mixed = 0;
            for (Index t = 0; t < length; ++t) mixed = (mixed + static_cast<std::uint64_t>(here[t]) + 1) * 0x9E3779B97F4A7C15u;
            hash[b] = static_cast<std::uint32_t>(mixed >> 32);
        }
        std::int32_t count = 0;
        for (Index b = 0; b < batch; ++b) {
            const U* const here = contexts + indices[b] * length;
            Index i = static_cast<Index>(hash[b]) & (slots - 1);
            while (slot[i] >= 0 && !same(context[slot[i]], here, length)) i = (i + 1) & (slots - 1);
            if (slot[i] < 0) {
                slot[i] = count;
                std::int32_t* const copy = characters + count * length;
                for (Index t = 0; t < length; ++t) copy[t] = static_cast<std::int32_t>(here[t]);
                context[count] = copy;
                weight[count++] = 0;
            }
            of[b] = slot[i];
            ++weight[slot[i]];
        }
        begin[0] = 0;
        for (std::int32_t r = 0; r < count; ++r) begin[r + 1] = begin[r] + weight[r];
        for (Index b = batch; b-- > 0;) {  // from the back: so `begin` ends with its first values
            const std::int32_t place = --begin[of[b] + 1];
            row[place] = of[b];
            target[place] = static_cast<std::int32_t>(targets[indices[b]]);
        }
        for (std::int32_t r = 0; r < count; ++r) begin[r] = begin[r + 1];
        begin[count] = static_cast<std::int32_t>(batch);
        return count;
    }

    template <class U>
    static bool same(const std::int32_t* a, const U* b, Index length) {
        for (Index t = 0; t < length; ++t)
            if (a[t] != static_cast<std::int32_t>(b[t])) return false;
        return true;
    }
};

// The distinct (position, character) pairs of those contexts.
struct Pairs {
    Index* begin;          // (T + 1,) first pair of each position
    std::int32_t* letter;  // (R + 1,)
    std::int32_t* of;      // (B, T) the pair of each row at each position
    std::int32_t* last;    // (R + 1,) the last row that holds a pair
    std::int32_t* before;  // (B, T) the row before this one that holds the same pair; -1 if none does
    std::int32_t* found;   // (V,) scratch, -1 between calls

    Index count(Index context) const { return begin[context]; }
    static Index most(Index batch, Index context, Index vocabulary) { return context * (batch < vocabulary ? batch : vocabulary); }

    void find(Index batch, Index length, const std::int32_t* const* contexts) {
        std::int32_t pairs = 0;
        for (Index t = 0; t < length; ++t) {
            begin[t] = pairs;
            for (Index b = 0; b < batch; ++b) {
                // No branch, since the processor could not predict whether a character is new. A pair is always written; the
            // count grows only if it is new.
                const std::int32_t c = contexts[b][t], seen = found[c], pair = seen < 0 ? pairs : seen;
                letter[pairs] = c;
                last[pairs] = -1;
                pairs += seen < 0;
                found[c] = pair;
                of[b * length + t] = pair;
                before[b * length + t] = last[pair];
                last[pair] = static_cast<std::int32_t>(b);
            }
            for (Index r = begin[t]; r < pairs; ++r) found[letter[r]] = -1;
        }
        begin[length] = pairs;
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
