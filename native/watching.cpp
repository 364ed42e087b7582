// The hooks on the modules of a network of another library.

#include <utility>
#include <vector>

#include "live.hpp"

namespace {

const bool unserializable = true;

// The forward hook of one module, and the hook on the gradient of its output. If something cannot be measured here, it calls `otherwise`.
class OutputHook {
  public:
    OutputHook(nb::handle_t<Live> live, std::size_t place, nb::object otherwise, nb::object grad_enabled, nb::object graph_task, nb::object level)
        : live_(nb::borrow(live)), place_(place), otherwise_(std::move(otherwise)), grad_enabled_(std::move(grad_enabled)),
          graph_task_(std::move(graph_task)), level_(std::move(level)) {}

    // Called with a module, its arguments and its output, or with a gradient.
    static PyObject* call(PyObject* self, PyObject* args, PyObject*) {
        const OutputHook& hook = *nb::inst_ptr<OutputHook>(self);
        try {
            if (PyTuple_Size(args) == 3)
                hook.made(self, PyTuple_GetItem(args, 0), PyTuple_GetItem(args, 1), PyTuple_GetItem(args, 2));
            else if (PyTuple_Size(args) == 1)
                hook.answered(PyTuple_GetItem(args, 0));
        } catch (nb::python_error& error) {
            error.restore();
            return nullptr;
        } catch (const std::exception& error) {
            PyErr_SetString(PyExc_RuntimeError, error.what());
            return nullptr;
        }
        Py_RETURN_NONE;
    }

    void made(nb::handle self, nb::handle module, nb::handle args, nb::handle output) const {
        Live& live = *nb::inst_ptr<Live>(live_);
        if (live.expected) {
            const bool again = live.heard_of(place_);
            if (!again && live.hear(place_, output, self)) return;
            // A repeated checkpointed block, an evaluation, or a function transform.
            if ((again && nb::cast<int>(graph_task_()) != -1) || !truth(grad_enabled_()) || !level_().is_none()) return;
            live.expected = false;
        }
        otherwise_(module, args, output);
    }

    void answered(nb::handle gradient) const {
        Live& live = *nb::inst_ptr<Live>(live_);
        if (live.expected && live.heard_of(place_) && !live.answer(place_, gradient)) live.expected = false;
    }

    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(live_.ptr());
        Py_VISIT(otherwise_.ptr());
        return 0;
    }
    void clear() {
        live_.reset();
        otherwise_.reset();
    }

  private:
    nb::object live_;
    const std::size_t place_;
    nb::object otherwise_;
    const nb::object grad_enabled_, graph_task_, level_;
};

}  // namespace

void bind_watching(nb::module_& m) {
    nb::class_<Tensors>(m, "Tensors", "Reads tensors of one type where they lie, by the functions it offers by DLPack (`__dlpack_c_exchange_api__`).")
        .def(nb::init<nb::type_object>(), "kind"_a)
        .def("number", &Tensors::number, "tensor"_a, nb::sig("def number(self, tensor: object) -> float | None"),
             "The number it is or holds; None if it is neither a float nor a tensor of float32 or float64 in this memory.");
    nb::class_<Live>(m, "Live", nb::type_slots(Collected<Live>::slots), "Tensors of another library that are measured where they lie; see lettrine.health.live.")
        .def(nb::init<const Tensors&, const std::vector<Shape>&, const std::vector<Shape>&, const std::vector<Zoned>&, Table<double>, Table<double>,
                      Table<float>, Table<double>, nb::object, nb::object>(),
             "tensors"_a, "parameters"_a, "outputs"_a, "zones"_a, "moments"_a.noconvert(), "moved"_a.noconvert(), "earlier"_a.noconvert(),
             "totals"_a.noconvert(), "range"_a, "look"_a,
             nb::sig("def __init__(self, tensors: Tensors, parameters: collections.abc.Sequence[tuple[int, int, int, int, int, int]], "
                     "outputs: collections.abc.Sequence[tuple[int, int, int, int, int, int]], "
                     "zones: collections.abc.Sequence[tuple[int, float, float, bool, bool]], moments: numpy.typing.NDArray[numpy.float64], "
                     "moved: numpy.typing.NDArray[numpy.float64], earlier: numpy.typing.NDArray[numpy.float32], "
                     "totals: numpy.typing.NDArray[numpy.float64], "
                     "range: collections.abc.Callable[[float, float, float, float], tuple[float, float] | None], "
                     "look: collections.abc.Callable[[int, typing.Any], None]) -> None"))
        .def_rw("expected", &Live::expected)
        .def_ro("heard", &Live::heard)
        .def("listen", &Live::listen, "slot"_a, "bins"_a, "looked"_a)
        .def("restart", &Live::restart)
        .def("again", &Live::again, "places"_a)
        .def("unanswered", &Live::unanswered)
        .def("before", &Live::before, "parameters"_a, nb::sig("def before(self, parameters: list[typing.Any]) -> bool"))
        .def("after", &Live::after, "parameters"_a, nb::sig("def after(self, parameters: list[typing.Any]) -> None"))
        .def("keep", &Live::keep)
        .def("units", &Live::units, nb::sig("def units(self) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64]]"))
        .def("details", &Live::details, nb::sig("def details(self) -> tuple[list[tuple[int, float, float]], numpy.typing.NDArray[numpy.int64]]"));
    static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(Collected<OutputHook>::traverse)},
                                  {Py_tp_clear, reinterpret_cast<void*>(Collected<OutputHook>::clear)},
                                  {Py_tp_call, reinterpret_cast<void*>(OutputHook::call)},
                                  {0, nullptr}};
    nb::class_<OutputHook>(m, "OutputHook", nb::type_slots(slots), "The forward hook of a module whose output is measured when it is made.")
        .def(nb::init<nb::handle_t<Live>, std::size_t, nb::object, nb::object, nb::object, nb::object>(), "live"_a, "place"_a, "otherwise"_a,
             "grad_enabled"_a, "graph_task"_a, "level"_a,
             nb::sig("def __init__(self, live: Live, place: int, otherwise: collections.abc.Callable[..., None], "
                     "grad_enabled: collections.abc.Callable[[], bool], graph_task: collections.abc.Callable[[], int], "
                     "level: collections.abc.Callable[[], object]) -> None"))
        .def("__reduce__", [](nb::handle) { return inert(); }, nb::sig("def __reduce__(self) -> tuple[typing.Any, ...]"))
        // A saved tensor loses its hooks; torch need not warn of ours.
        .def_ro_static("__torch_unserializable__", &unserializable);
}
