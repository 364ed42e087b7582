// The health check's half of the border to Python.

#include <algorithm>
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

// What a library of tensors offers by DLPack, as far as it is used here (DLPackExchangeAPI of dlpack.h, version 1).
struct Exchange {
    std::uint32_t major, minor;
    const void* previous;
    const void* unused[3];  // to allocate, to import, to export
    int (*describe)(void* tensor, nb::dlpack::dltensor* out);
};

// Reads tensors of one type of another library where they lie.
class Tensors {
  public:
    explicit Tensors(nb::type_object kind) : kind_(kind) {
        const nb::object offered = nb::getattr(kind, "__dlpack_c_exchange_api__", nb::none());
        const auto* exchange = PyCapsule_IsValid(offered.ptr(), "dlpack_exchange_api")
                                   ? static_cast<const Exchange*>(PyCapsule_GetPointer(offered.ptr(), "dlpack_exchange_api"))
                                   : nullptr;
        require(exchange && exchange->major == 1 && exchange->describe, "tensors of this type cannot be read in place");
        describe_ = exchange->describe;
    }

    // Where the values of a tensor lie; null if it is not of T, contiguous, of this size and in this memory.
    template <class T>
    const T* address(nb::handle tensor, Index size) const {
        if (!PyObject_TypeCheck(tensor.ptr(), reinterpret_cast<PyTypeObject*>(kind_.ptr()))) return nullptr;
        nb::dlpack::dltensor found;
        if (describe_(tensor.ptr(), &found)) {
            PyErr_Clear();
            return nullptr;
        }
        if (found.device.device_type != nb::device::cpu::value || found.dtype != nb::dtype<T>()) return nullptr;
        std::int64_t expected = 1;
        for (int axis = found.ndim - 1; axis >= 0; --axis) {
            if (found.strides && found.shape[axis] != 1 && found.strides[axis] != expected) return nullptr;
            expected *= found.shape[axis];
        }
        if (expected != size || !found.data) return nullptr;
        return reinterpret_cast<const T*>(static_cast<const char*>(found.data) + found.byte_offset);
    }

    // The number a tensor holds; None if it is not one of float32 or float64 in this memory.
    nb::object number(nb::handle tensor) const {
        if (const auto* value = address<float>(tensor, 1)) return nb::float_(static_cast<double>(*value));
        if (const auto* value = address<double>(tensor, 1)) return nb::float_(*value);
        return nb::none();
    }

  private:
    nb::type_object kind_;
    int (*describe_)(void*, nb::dlpack::dltensor*) = nullptr;
};

// A part of a table at one step: how many of rows (R, U) of the tensor `place` lie in the zone.
using Zoned = std::tuple<Index, Index, Index, double, double, bool>;

template <class T>
using Table = nb::ndarray<T, nb::device::cpu, nb::c_contig>;

// Tensors of another library, the same ones at every step: parameters with their gradients, and outputs with theirs. They are read
// where they lie: their addresses are asked for at every step, and nothing is read of a step where one is missing, of another size,
// type or layout than it was, or elsewhere than in this memory.
class Live {
  public:
    Live(const Tensors& tensors, const std::vector<Index>& parameters, const std::vector<Index>& outputs, const std::vector<Zoned>& zones,
         Table<double> moments, Table<double> moved, Table<float> earlier, Table<std::int64_t> counts)
        : set_(instruction_set("").single_measures), tensors_(tensors), own_(parameters), made_(outputs), zones_(zones), moments_(moments),
          moved_(moved), earlier_(earlier), counts_(counts), steps_(moments.ndim() ? moments.shape(0) : 0) {
        Index total = 0, units = 0;
        for (const Index size : own_) total += size;
        for (const auto& [place, rows, width, low, high, inside] : zones_) {
            require(place >= 0 && static_cast<std::size_t>(place) < made_.size() && rows * width == made_[static_cast<std::size_t>(place)],
                    "a zone is of no output");
            units += width;
        }
        require(moments_.size() == steps_ * 16 * (own_.size() + made_.size()) && moved_.size() == steps_ * 8 * own_.size() &&
                    earlier_.size() == static_cast<std::size_t>(total) && counts_.size() == steps_ * static_cast<std::size_t>(units),
                "the tables have not the sizes that the tensors ask for");
        addresses_.resize(2 * (own_.size() + made_.size()));
        units_ = static_cast<std::size_t>(units);
    }

    // Measure what there is just before step number `step` of the table, and keep the parameters. False, and nothing done, if not all is
    // there as expected.
    bool before(std::size_t step, const nb::list& parameters, const nb::list& outputs) {
        require(step < steps_, "there is no room for another step");
        const std::size_t own = own_.size(), made = made_.size();
        if (parameters.size() != own || outputs.size() != made) return false;
        if (!find(parameters, own_, 0, own, true) || !find(outputs, made_, 2 * own, 2 * own + made, false)) return false;
        double* row = moments_.data() + 16 * step * (own + made);
        float* kept = earlier_.data();
        for (std::size_t i = 0; i < 2 * (own + made); ++i) {
            const Index size = i < 2 * own ? own_[i % own] : made_[(i - 2 * own) % made];
            write(row + 8 * i, set_.moments(addresses_[i], nullptr, size));
            if (i < own) kept = std::copy_n(addresses_[i], size, kept);
        }
        std::int64_t* counts = counts_.data() + step * units_;
        for (const auto& [place, rows, width, low, high, inside] : zones_) {
            set_.zone_counts(addresses_[2 * own + static_cast<std::size_t>(place)], rows, width, {low, high, inside}, counts);
            counts += width;
        }
        return true;
    }

    // Measure by how much the parameters have moved since. False if they are not where they can be read any more.
    bool after(std::size_t step, const nb::list& parameters) {
        require(step < steps_, "there is no room for another step");
        const std::size_t own = own_.size();
        const float* kept = earlier_.data();
        for (std::size_t i = 0; i < own; ++i) {
            const float* values = i < parameters.size() ? tensors_.address<float>(parameters[i], own_[i]) : nullptr;
            if (!values) return false;
            write(moved_.data() + 8 * (step * own + i), set_.moments(values, kept, own_[i]));
            kept += own_[i];
        }
        return true;
    }

    // Counts (n, bins) of the tensors `places`, outputs first, then their gradients, as `before` found them; call it right after.
    Result<std::int64_t> histogram(const std::vector<std::size_t>& places, const std::vector<double>& lows, const std::vector<double>& highs,
                                   Index bins) const {
        const std::size_t first = 2 * own_.size(), width = static_cast<std::size_t>(bins);
        require(lows.size() == places.size() && highs.size() == places.size() && bins >= 1, "histogram got lists of different lengths, or no bins");
        for (std::size_t i = 0; i < places.size(); ++i)
            require(places[i] < 2 * made_.size() && lows[i] < highs[i], "histogram got no such output, or a range that is empty or not finite");
        std::unique_ptr<std::int64_t[]> counts(new std::int64_t[places.size() * width + 1]);
        for (std::size_t i = 0; i < places.size(); ++i)
            set_.histogram(addresses_[first + places[i]], made_[places[i] % made_.size()], lows[i], highs[i], bins, counts.get() + i * width);
        return own(counts.release(), {places.size(), width});
    }

  private:
    static void write(double* row, const lettrine::Moments& found) { std::memcpy(row, &found, sizeof found); }

    // Addresses of tensors from `at` on, those of their gradients from `beside` on.
    bool find(const nb::list& tensors, const std::vector<Index>& sizes, std::size_t at, std::size_t beside, bool trained) {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const nb::handle tensor = tensors[i];
            const float* values = tensors_.address<float>(tensor, sizes[i]);
            if (!values) return false;
            // The tensor keeps its gradient alive.
            const nb::object gradient = tensor.attr("grad");
            const float* slopes = tensors_.address<float>(gradient, sizes[i]);
            // A parameter that is not trained any more, and a gradient that has a graph of its own, are not the common case.
            if (!slopes || nb::cast<bool>((trained ? tensor : nb::handle(gradient)).attr("requires_grad")) != trained) return false;
            addresses_[at + i] = values;
            addresses_[beside + i] = slopes;
        }
        return true;
    }

    const lettrine::Measures<float> set_;
    const Tensors tensors_;
    const std::vector<Index> own_, made_;
    const std::vector<Zoned> zones_;
    Table<double> moments_, moved_;
    Table<float> earlier_;
    Table<std::int64_t> counts_;
    const std::size_t steps_;
    std::size_t units_ = 0;
    std::vector<const float*> addresses_;  // of parameters, their gradients, outputs, their gradients
};

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
    nb::class_<Tensors>(m, "Tensors", "Reads tensors of one type where they lie, by the functions it offers by DLPack (`__dlpack_c_exchange_api__`).")
        .def(nb::init<nb::type_object>(), "kind"_a)
        .def("number", &Tensors::number, "tensor"_a, nb::sig("def number(self, tensor: object) -> float | None"),
             "The number it holds; None if it is not one of float32 or float64 in this memory.");
    nb::class_<Live>(m, "Live", "Tensors of another library that are measured where they lie; see lettrine.health.live.")
        .def(nb::init<const Tensors&, const std::vector<Index>&, const std::vector<Index>&, const std::vector<Zoned>&, Table<double>, Table<double>,
                      Table<float>, Table<std::int64_t>>(),
             "tensors"_a, "parameters"_a, "outputs"_a, "zones"_a, "moments"_a.noconvert(), "moved"_a.noconvert(), "earlier"_a.noconvert(),
             "counts"_a.noconvert(),
             nb::sig("def __init__(self, tensors: Tensors, parameters: collections.abc.Sequence[int], outputs: collections.abc.Sequence[int], "
                     "zones: collections.abc.Sequence[tuple[int, int, int, float, float, bool]], moments: numpy.typing.NDArray[numpy.float64], "
                     "moved: numpy.typing.NDArray[numpy.float64], earlier: numpy.typing.NDArray[numpy.float32], "
                     "counts: numpy.typing.NDArray[numpy.int64]) -> None"))
        .def("before", &Live::before, "step"_a, "parameters"_a, "outputs"_a,
             nb::sig("def before(self, step: int, parameters: list[typing.Any], outputs: list[typing.Any]) -> bool"))
        .def("after", &Live::after, "step"_a, "parameters"_a, nb::sig("def after(self, step: int, parameters: list[typing.Any]) -> bool"))
        .def("histogram", &Live::histogram, "places"_a, "lows"_a, "highs"_a, "bins"_a,
             nb::sig("def histogram(self, places: collections.abc.Sequence[int], lows: collections.abc.Sequence[float], "
                     "highs: collections.abc.Sequence[float], bins: int) -> numpy.typing.NDArray[numpy.int64]"));
}
