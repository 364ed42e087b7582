// Watching another library's network: its tensors are read where they lie, and the steps that are not sampled are counted.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "border.hpp"

namespace {

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

    // The number a tensor holds, if it is one of float32 or float64 in this memory.
    std::optional<double> number(nb::handle tensor) const {
        if (const auto* value = address<float>(tensor, 1)) return static_cast<double>(*value);
        if (const auto* value = address<double>(tensor, 1)) return *value;
        return std::nullopt;
    }

  private:
    nb::type_object kind_;
    int (*describe_)(void*, nb::dlpack::dltensor*) = nullptr;
};

// Place of an output, (R, U), and a zone: for each unit, how many of its values lie in the zone is counted. Of a zone within another
// zone of the same output named before it, only counts of R need be right: that all values of a unit lie in it.
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
            wider_.push_back(-1);
            Index at = 0;
            for (std::size_t z = 0; z + 1 < wider_.size(); at += std::get<2>(zones_[z++])) {
                const auto& [other, other_rows, other_width, other_low, other_high, other_inside] = zones_[z];
                if (other == place && !inside && !other_inside && other_low >= low && other_high <= high) wider_.back() = at;
            }
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
        for (std::size_t z = 0; z < zones_.size(); ++z) {
            const auto& [place, rows, width, low, high, inside] = zones_[z];
            const std::int64_t* wider = wider_[z] < 0 ? nullptr : counts_.data() + step * units_ + wider_[z];
            // No unit lies wholly in the wider zone, so none does in this one; whether one does is all that is asked of this one.
            if (wider && std::find(wider, wider + width, rows) == wider + width)
                std::fill_n(counts, width, 0);
            else
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
    std::vector<Index> wider_;  // of each zone, where the counts of another of the same output begin that holds it, or -1
    Table<double> moments_, moved_;
    Table<float> earlier_;
    Table<std::int64_t> counts_;
    const std::size_t steps_;
    std::size_t units_ = 0;
    std::vector<const float*> addresses_;  // of parameters, their gradients, outputs, their gradients
};

// A watch at the steps that are not sampled, when all there is to do is to count them and to note their losses; whatever else is to
// be done is done by what it calls then. The Python twin is lettrine.torch.idle.Idle.
class Idle {
  public:
    bool counting = false, noting = false;
    std::int64_t step = 0, next = 0, late = 1;

    Idle(const Tensors& tensors, nb::object stepped, nb::object lost, std::size_t room)
        : tensors_(tensors), stepped_(std::move(stepped)), lost_(std::move(lost)), room_(room) {}

    void stepped(nb::handle optimiser, nb::handle args, nb::handle kwargs) {
        if (counting && step + 1 < next)
            ++step;
        else
            stepped_(optimiser, args, kwargs);
    }

    void loss(nb::handle loss) {
        if (noting && losses_.size() < room_)
            if (const auto value = tensors_.number(loss); value && __builtin_isfinite(*value)) {
                losses_.emplace_back(step - late, *value);
                return;
            }
        lost_(loss);
    }

    std::vector<std::pair<std::int64_t, double>> losses() { return std::exchange(losses_, {}); }

    // What it calls holds the watch, which holds it.
    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        if (!nb::inst_ready(self)) return 0;
        const Idle* idle = nb::inst_ptr<Idle>(self);
        Py_VISIT(idle->stepped_.ptr());
        Py_VISIT(idle->lost_.ptr());
        return 0;
    }
    static int clear(PyObject* self) {
        Idle* idle = nb::inst_ptr<Idle>(self);
        idle->stepped_.reset();
        idle->lost_.reset();
        return 0;
    }

  private:
    const Tensors tensors_;
    nb::object stepped_, lost_;
    const std::size_t room_;
    std::vector<std::pair<std::int64_t, double>> losses_;  // step and loss
};

}  // namespace

void bind_watching(nb::module_& m) {
    nb::class_<Tensors>(m, "Tensors", "Reads tensors of one type where they lie, by the functions it offers by DLPack (`__dlpack_c_exchange_api__`).")
        .def(nb::init<nb::type_object>(), "kind"_a)
        .def("number", &Tensors::number, "tensor"_a, nb::sig("def number(self, tensor: object) -> float | None"),
             "The number it holds; None if it is not one of float32 or float64 in this memory.");
    static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(Idle::traverse)}, {Py_tp_clear, reinterpret_cast<void*>(Idle::clear)}, {0, nullptr}};
    nb::class_<Idle>(m, "Idle", nb::type_slots(slots), "A watch at the steps that are not sampled; see lettrine.torch.idle.")
        .def(nb::init<const Tensors&, nb::object, nb::object, std::size_t>(), "tensors"_a, "stepped"_a, "lost"_a, "room"_a,
             nb::sig("def __init__(self, tensors: Tensors, stepped: collections.abc.Callable[[typing.Any, typing.Any, typing.Any], None], "
                     "lost: collections.abc.Callable[[typing.Any], None], room: int) -> None"))
        .def_rw("counting", &Idle::counting)
        .def_rw("noting", &Idle::noting)
        .def_rw("step", &Idle::step)
        .def_rw("next", &Idle::next)
        .def_rw("late", &Idle::late)
        .def("stepped", &Idle::stepped, "optimiser"_a.none(), "args"_a.none(), "kwargs"_a.none())
        .def("loss", &Idle::loss, "loss"_a.none())
        .def("losses", &Idle::losses);
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
