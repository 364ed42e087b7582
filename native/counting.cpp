// The functions of counts for Python. They trust arrays that `lettrine.model.counting` made; `lettrine.model.stored_counts` checks
// arrays from a file.

#include "counted.hpp"

#include <nanobind/stl/optional.h>

#include <memory>
#include <optional>

lettrine::Counts counts_of(const CountArrays& arrays) {
    const auto& [vocabulary, levels, children, begin, followers, shares, passed_on] = arrays;
    const lettrine::Counts counts{vocabulary,     static_cast<Index>(levels.size()) - 1, static_cast<Index>(begin.size()) - 1, levels.data(),
                                  children.data(), begin.data(), followers.data(), shares.data(), passed_on.data()};
    require(counts.order >= 1 && counts.order <= lettrine::Counts::deepest && counts.nodes >= 1 && vocabulary >= 2, "counts have no such shape");
    require(static_cast<Index>(children.size()) == counts.nodes - 1 && static_cast<Index>(passed_on.size()) == counts.nodes &&
                levels.data()[counts.order] == counts.nodes && static_cast<std::size_t>(begin.data()[counts.nodes]) == followers.size() &&
                shares.size() == followers.size(),
            "the arrays of the counts do not fit each other");
    return counts;
}

namespace {

Result<double> count_probabilities(const CountArrays& arrays, const Numbers<std::int32_t>& contexts,
                                   const std::optional<Numbers<std::int32_t>>& targets) {
    const lettrine::Counts counts = counts_of(arrays);
    require(contexts.ndim() == 2 && (!targets || (targets->ndim() == 1 && targets->shape(0) == contexts.shape(0))),
            "contexts and targets do not fit each other");
    const std::size_t count = contexts.shape(0), length = contexts.shape(1), v = static_cast<std::size_t>(counts.vocabulary);
    std::unique_ptr<double[]> out(new double[(targets ? count : count * v) + 1]);
    {
        const nb::gil_scoped_release unlocked;
        for (std::size_t i = 0; i < count; ++i) {
            const std::int32_t* context = contexts.data() + i * length;
            if (targets)
                out[i] = counts.probability(context, static_cast<Index>(length), targets->data()[i]);
            else
                counts.probabilities(context, static_cast<Index>(length), out.get() + i * v);
        }
    }
    return targets ? own(out.release(), {count}) : own(out.release(), {count, v});
}

}  // namespace

void bind_counting(nb::module_& m) {
    m.def("count_probabilities", &count_probabilities, "counts"_a.noconvert(), "contexts"_a.noconvert(), "targets"_a.noconvert().none(),
          nb::sig("def count_probabilities(counts: " COUNTS ", contexts: numpy.typing.NDArray[numpy.int32], "
                  "targets: numpy.typing.NDArray[numpy.int32] | None) -> numpy.typing.NDArray[numpy.float64]"),
          "Probabilities of counted words (N, V), or, with targets, of those (N,).");
}
