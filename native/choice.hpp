// One character drawn from logits.

#pragma once

#include "mlp.hpp"

namespace lettrine {

// weights (V,): exp((logit - greatest logit) / temperature), or the logits themselves where temperature is 0; overwritten.
// order (V,) is scratch; uniform in [0, 1).
Index choose(const Choice& choice, Index vocabulary, double* weights, Index* order, double uniform);

}  // namespace lettrine
