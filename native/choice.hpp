// Draws one character from weights.

#pragma once

#include "mlp.hpp"

namespace lettrine {

// Sets the weights (V,) that top_k and top_p leave out to 0. order (V,) is scratch.
void cut(const Choice& choice, Index vocabulary, double* weights, Index* order);

// Replaces weights (V,), 0 or more, by their cumulated sums, after the cuts. order (V,) is scratch.
inline void cumulate(const Choice& choice, Index vocabulary, double* weights, Index* order) {
    if ((choice.top_k > 0 && choice.top_k < vocabulary) || choice.top_p < 1) cut(choice, vocabulary, weights, order);
    double sum = 0;
    for (Index v = 0; v < vocabulary; ++v) weights[v] = sum += weights[v];
}

// The first character whose cumulated sum is above uniform times the total, uniform in [0, 1).
inline Index choose(Index vocabulary, const double* sums, double uniform) {
    const double aim = uniform * sums[vocabulary - 1];
    Index first = 0;
    for (Index left = vocabulary; left > 1;) {  // no branch: the processor could not predict it
        const Index half = left / 2;
        first += sums[first + half - 1] > aim ? 0 : half;
        left -= half;
    }
    return sums[first] > aim ? first : 0;  // 0 only where a logit is not finite, as the reference's argmax gives
}

}  // namespace lettrine
