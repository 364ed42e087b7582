// Smoothed counts of words: probabilities of the characters after a history. src/lettrine/model/counts.py defines them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "moments.hpp"

namespace lettrine {

// Histories are nodes of a tree, numbered by depth. `children` has parent * V + character for each node except the first, ascending.
struct Counts {
    Index vocabulary, order, nodes;
    const std::int64_t* levels;      // (order + 1,) first node of each depth
    const std::int64_t* children;    // (nodes - 1,)
    const std::int64_t* begin;       // (nodes + 1,) where a node's followers begin
    const std::int32_t* followers;   // ascending within a node
    const double* shares;            // of each follower: the probability from its own counts
    const double* passed_on;         // (nodes,) the probability left to the shorter history
    const std::int64_t* families = nullptr;  // (nodes + 1,) where a node's children begin; without it they are searched
    static constexpr Index deepest = 16;

    // Makes `families` for these counts, for callers that ask often.
    std::vector<std::int64_t> grouped() const {
        std::vector<std::int64_t> first(static_cast<std::size_t>(nodes) + 1);
        Index child = 0;
        for (Index node = 0; node <= nodes; ++node) {
            while (child < nodes - 1 && children[child] < node * vocabulary) ++child;
            first[static_cast<std::size_t>(node)] = child;
        }
        return first;
    }

    // The nodes of a context (T,), whose last character is the nearest, from the empty history on. Returns their number.
    Index path(const std::int32_t* context, Index length, std::int64_t* found) const {
        found[0] = 0;
        Index depth = 1;
        for (std::int64_t node = 0; depth < order && depth <= length; ++depth) {
            const std::int64_t character = context[length - depth], key = node * vocabulary + character;
            const std::int64_t* first = children + (families ? families[node] : levels[depth] - 1);
            const std::int64_t* last = children + (families ? families[node + 1] : levels[depth + 1] - 1);
            if (first == last) break;
            for (Index left = last - first; left > 1;) {  // no branch: the processor could not predict it
                const Index half = left / 2;
                first += first[half - 1] < key ? half : 0;
                left -= half;
            }
            if (*first != key) break;
            found[depth] = node = first - children + 1;
            if (character == 0) {  // the beginning of the word
                ++depth;
                break;
            }
        }
        return depth;
    }

    // The probabilities of all characters: (V,).
    void probabilities(const std::int32_t* context, Index length, double* out) const {
        std::int64_t found[deepest];
        double left = 1;
        std::fill(out, out + vocabulary, 0.0);
        for (Index depth = path(context, length, found); depth-- > 0;) {
            const std::int64_t node = found[depth];
            for (std::int64_t i = begin[node]; i < begin[node + 1]; ++i) out[followers[i]] += left * shares[i];
            left *= passed_on[node];
        }
        const double each = left / static_cast<double>(vocabulary);
        for (Index v = 0; v < vocabulary; ++v) out[v] += each;
    }

    // The probability of one character.
    double probability(const std::int32_t* context, Index length, std::int32_t target) const {
        std::int64_t found[deepest];
        double left = 1, sum = 0;
        for (Index depth = path(context, length, found); depth-- > 0;) {
            const std::int64_t node = found[depth];
            const std::int32_t *first = followers + begin[node], *last = followers + begin[node + 1];
            const std::int32_t* at = std::lower_bound(first, last, target);
            if (at != last && *at == target) sum += left * shares[at - followers];
            left *= passed_on[node];
        }
        return sum + left / static_cast<double>(vocabulary);
    }
};

}  // namespace lettrine
