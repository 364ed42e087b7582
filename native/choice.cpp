#include "choice.hpp"

#include <algorithm>
#include <numeric>

namespace lettrine {

// Ties go to the lower index.
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

}  // namespace lettrine
