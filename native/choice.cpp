#include "choice.hpp"

#include <algorithm>
#include <numeric>

namespace lettrine {

namespace {

// Sets what the cuts leave out to 0. Ties go to the lower index.
void cut(const Choice& choice, Index vocabulary, double* weights, Index* order) {
    std::iota(order, order + vocabulary, Index{0});
    std::sort(order, order + vocabulary, [&](Index a, Index b) { return weights[a] != weights[b] ? weights[a] > weights[b] : a < b; });
    Index kept = choice.top_k > 0 ? std::min(choice.top_k, vocabulary) : vocabulary;
    double total = 0;
    for (Index i = 0; i < kept; ++i) total += weights[order[i]];
    if (choice.top_p < 1) {
        double before = 0;
        for (Index i = 0; i < kept; ++i) {
            if (i > 0 && before >= choice.top_p) kept = i;
            else before += weights[order[i]] / total;
        }
    }
    for (Index i = kept; i < vocabulary; ++i) weights[order[i]] = 0;
}

}  // namespace

Index choose(const Choice& choice, Index vocabulary, double* weights, Index* order, double uniform) {
    if (choice.temperature == 0) return std::max_element(weights, weights + vocabulary) - weights;
    if ((choice.top_k > 0 && choice.top_k < vocabulary) || choice.top_p < 1) cut(choice, vocabulary, weights, order);
    double total = 0;
    for (Index v = 0; v < vocabulary; ++v) total += weights[v];
    const double aim = uniform * total;
    double sum = 0;
    for (Index v = 0; v < vocabulary; ++v) {
        sum += weights[v];
        if (sum > aim) return v;
    }
    return 0;  // only where a logit is not finite, as the reference's argmax gives
}

}  // namespace lettrine
