// Figures of numpy arrays, for the health check.

#include <cstring>
#include <memory>
#include <vector>

#include "border.hpp"

namespace {

// Calls body(measures, const T*) for the array's type.
template <class Body>
void with_measures(const lettrine::InstructionSet& set, const ReadArray& array, Body body) {
    if (array.dtype() == nb::dtype<float>()) return body(set.single_measures, static_cast<const float*>(array.data()));
    require(array.dtype() == nb::dtype<double>(), "an array is neither float32 nor float64");
    body(set.twice_measures, static_cast<const double*>(array.data()));
}

Result<double> table_of(const std::vector<ReadArray>& arrays, const std::vector<ReadArray>* minus) {
    static_assert(sizeof(lettrine::Moments) == 8 * sizeof(double));
    const auto& set = instruction_set("");
    require(!minus || minus->size() == arrays.size(), "moments of a difference got lists of different lengths");
    std::unique_ptr<double[]> rows(new double[8 * arrays.size() + 1]);
    for (std::size_t i = 0; i < arrays.size(); ++i)
        with_measures(set, arrays[i], [&](const auto& measures, const auto* values) {
            using T = std::remove_const_t<std::remove_pointer_t<decltype(values)>>;
            const T* other = nullptr;
            if (minus) {
                require((*minus)[i].dtype() == arrays[i].dtype() && (*minus)[i].size() == arrays[i].size(),
                        "moments of a difference got arrays that differ in type or size");
                other = static_cast<const T*>((*minus)[i].data());
            }
            const lettrine::Moments found = measures.moments(values, other, static_cast<Index>(arrays[i].size()));
            std::memcpy(rows.get() + 8 * i, &found, sizeof found);
        });
    return own(rows.release(), {arrays.size(), 8});
}

Result<double> moments(const std::vector<ReadArray>& arrays) { return table_of(arrays, nullptr); }

Result<double> moments_of_difference(const std::vector<ReadArray>& after, const std::vector<ReadArray>& before) {
    return table_of(after, &before);
}

nb::list zone_counts(const std::vector<ReadArray>& arrays, const std::vector<std::tuple<double, double, bool>>& zones) {
    const auto& set = instruction_set("");
    require(arrays.size() == zones.size(), "zone_counts got lists of different lengths");
    nb::list results;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        require(arrays[i].ndim() == 2, "zone_counts got an array that is not (R, U)");
        const std::size_t rows = arrays[i].shape(0), units = arrays[i].shape(1);
        const lettrine::Zone zone{std::get<0>(zones[i]), std::get<1>(zones[i]), std::get<2>(zones[i])};
        std::unique_ptr<std::int64_t[]> counts(new std::int64_t[units + 1]);
        with_measures(set, arrays[i], [&](const auto& measures, const auto* values) {
            measures.zone_counts(values, static_cast<Index>(rows), static_cast<Index>(units), zone, counts.get());
        });
        results.append(nb::cast(own(counts.release(), {units})));
    }
    return results;
}

Result<std::int64_t> histogram(const std::vector<ReadArray>& arrays, const std::vector<double>& lows, const std::vector<double>& highs, Index bins) {
    const auto& set = instruction_set("");
    require(arrays.size() == lows.size() && arrays.size() == highs.size() && bins >= 1, "histogram got lists of different lengths, or no bins");
    for (std::size_t i = 0; i < lows.size(); ++i) require(lows[i] < highs[i], "histogram got a range that is empty or not finite");
    const auto width = static_cast<std::size_t>(bins);
    std::unique_ptr<std::int64_t[]> counts(new std::int64_t[arrays.size() * width + 1]);
    for (std::size_t i = 0; i < arrays.size(); ++i)
        with_measures(set, arrays[i], [&](const auto& measures, const auto* values) {
            measures.histogram(values, static_cast<Index>(arrays[i].size()), lows[i], highs[i], bins, counts.get() + i * width);
        });
    return own(counts.release(), {arrays.size(), width});
}

}  // namespace

void bind_measures(nb::module_& m) {
    m.def("moments", &moments, "arrays"_a, nb::sig("def moments(arrays: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]]) -> numpy.typing.NDArray[numpy.float64]"),
          "Figures (n, 8) of each array; see lettrine.health.measure.");
    m.def("moments_of_difference", &moments_of_difference, "after"_a, "before"_a,
          nb::sig("def moments_of_difference(after: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]], before: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]]) -> numpy.typing.NDArray[numpy.float64]"),
          "The same of each after - before.");
    m.def("zone_counts", &zone_counts, "arrays"_a, "zones"_a,
          nb::sig("def zone_counts(arrays: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]], zones: collections.abc.Sequence[tuple[float, float, bool]]) -> list[numpy.typing.NDArray[numpy.int64]]"),
          "By column of each (R, U) array, how many values lie in its zone.");
    m.def("histogram", &histogram, "arrays"_a, "lows"_a, "highs"_a, "bins"_a,
          nb::sig("def histogram(arrays: collections.abc.Sequence[numpy.typing.NDArray[typing.Any]], lows: collections.abc.Sequence[float], highs: collections.abc.Sequence[float], bins: int) "
                  "-> numpy.typing.NDArray[numpy.int64]"),
          "Counts (n, bins) over equal bins from low to high.");
}
