// Watched steps of a network of another library, without Python.

#include <nanobind/stl/pair.h>

#include <cmath>
#include <utility>
#include <vector>

#include "live.hpp"

namespace {

// Counts steps that are not sampled and notes their losses. If more has to be done, it calls Python. The twin in Python is
// lettrine.torch.fast.counting.StepCounter.
class StepCounter {
  public:
    bool counting = false, noting = false;
    std::int64_t step = 0, next = 0, late = 1;

    StepCounter(const Tensors& tensors, nb::object stepped, nb::object lost, std::size_t room)
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

    // For the garbage collector: the functions that it calls hold the watch, and the watch holds it.
    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(stepped_.ptr());
        Py_VISIT(lost_.ptr());
        return 0;
    }
    void clear() {
        stepped_.reset();
        lost_.reset();
    }

  private:
    const Tensors tensors_;
    nb::object stepped_, lost_;
    const std::size_t room_;
    std::vector<std::pair<std::int64_t, double>> losses_;  // step and loss
};

// A run of sampled steps of a known network. Each is measured and counted, and its learning rates are noted. If something has changed,
// the run ends, and Python handles the step.
class Run {
  public:
    bool running = false;

    Run(nb::handle_t<StepCounter> counter, nb::object before, nb::object paused, nb::object grad_enabled, nb::object graph_task, nb::object level)
        : counter_(nb::borrow(counter)), before_(std::move(before)), paused_(std::move(paused)), grad_enabled_(std::move(grad_enabled)),
          graph_task_(std::move(graph_task)), level_(std::move(level)) {}

    // The step that begins now is the first one. modules: of the network; their modes must not change. groups: of the optimiser, with
    // the learning rates. The run ends before step `until`, or when `room` rows of the tables are full. most: of the network's input,
    // so many numbers are read; if it has more, Python must read it.
    void begin(nb::handle_t<Live> live, nb::list parameters, nb::list groups, nb::list modules, std::int64_t until, std::size_t room, Index most) {
        live_ = nb::borrow(live);
        parameters_ = std::move(parameters);
        groups_ = std::move(groups);
        modules_ = std::move(modules);
        until_ = until;
        room_ = room;
        most_ = most;
        modes_.clear();
        for (const nb::handle module : modules_) modes_.push_back(truth(nb::getattr(module, training_)));
        sizes_.clear();
        for (const nb::handle group : groups_) sizes_.push_back(nb::len(nb::object(group[params_])));
        rates_.clear();
        made_ = 0;
        opened_ = false;
        running = true;
    }

    // The number of steps since the last call, and their learning rates, those of one step side by side.
    std::pair<std::size_t, std::vector<double>> ran() { return {std::exchange(made_, 0), std::exchange(rates_, {})}; }

    // The user calls the network. False if Python must see it.
    bool called(const std::vector<std::size_t>& places, nb::handle args, nb::handle kwargs) {
        if (!running || !live().expected) return false;
        // An evaluation, a checkpointed block that is repeated, or a function transform.
        if (!truth(grad_enabled_()) || nb::cast<int>(graph_task_()) != -1 || !level_().is_none()) return true;
        running = !live().again(places) && known(args, kwargs);
        for (std::size_t i = 0; running && i < modes_.size(); ++i) running = truth(nb::getattr(modules_[i], training_)) == modes_[i];
        return running;
    }

    // The hook of the optimiser before its step.
    void before(nb::handle optimiser, nb::handle args, nb::handle kwargs) {
        if (running && alone(optimiser) && live().before(parameters_)) {
            opened_ = true;
            return;
        }
        running = false;
        before_(optimiser, args, kwargs);
    }

    // The hook after it.
    void stepped(nb::handle optimiser, nb::handle args, nb::handle kwargs) {
        StepCounter& counter = *nb::inst_ptr<StepCounter>(counter_);
        if (!running || !opened_) {
            counter.stepped(optimiser, args, kwargs);
            return;
        }
        opened_ = false;
        live().after(parameters_);
        live().keep();
        for (const nb::handle group : groups_) {
            PyObject* rate = PyDict_GetItem(group.ptr(), lr_.ptr());
            const double value = rate ? PyFloat_AsDouble(rate) : std::nan("");
            if (PyErr_Occurred()) PyErr_Clear();
            rates_.push_back(value);
        }
        ++made_;
        if (++counter.step < until_ && live().slot() + 1 < room_) {
            live().listen(live().slot() + 1, 0, {});
            return;
        }
        running = false;
        paused_();
    }

    int traverse(visitproc visit, void* arg) const {
        for (const nb::object* each : {&counter_, &before_, &paused_, &live_}) Py_VISIT(each->ptr());
        for (const nb::list* each : {&parameters_, &groups_, &modules_}) Py_VISIT(each->ptr());
        return 0;
    }
    void clear() {
        for (nb::object* each : {&counter_, &before_, &paused_, &live_}) each->reset();
        for (nb::list* each : {&parameters_, &groups_, &modules_}) each->reset();
        running = false;
    }

  private:
    Live& live() const { return *nb::inst_ptr<Live>(live_); }

    // Whether the optimiser holds as many parameters as before, and no GradScaler may skip its step or scale its gradients.
    bool alone(nb::handle optimiser) const {
        const nb::object own = nb::getattr(optimiser, "__dict__");
        if (PyDict_Contains(own.ptr(), found_inf_.ptr()) || PyDict_Contains(own.ptr(), grad_scale_.ptr())) return false;
        for (std::size_t i = 0; i < sizes_.size(); ++i)
            if (nb::len(nb::object(groups_[i][params_])) != sizes_[i]) return false;
        return true;
    }

    // Whether the first tensor among the network's arguments is finite, or of whole numbers.
    bool known(nb::handle args, nb::handle kwargs) const {
        for (const nb::handle given : nb::borrow<nb::tuple>(args))
            if (const auto answer = live().sound(given, most_)) return *answer;
        for (const auto [name, given] : nb::borrow<nb::dict>(kwargs))
            if (const auto answer = live().sound(given, most_)) return *answer;
        return true;
    }

    nb::object counter_, before_, paused_, live_;
    const nb::object grad_enabled_, graph_task_, level_;
    nb::list parameters_, groups_, modules_;
    const nb::object training_ = Names::name("training"), params_ = Names::name("params"), lr_ = Names::name("lr"),
                     found_inf_ = Names::name("found_inf"), grad_scale_ = Names::name("grad_scale");
    std::vector<bool> modes_;
    std::vector<std::size_t> sizes_;  // of the groups
    std::vector<double> rates_;
    std::int64_t until_ = 0;
    std::size_t room_ = 0, made_ = 0;
    Index most_ = 0;
    bool opened_ = false;
};

// The hook of a module the user calls, before it runs.
class CallHook {
  public:
    CallHook(nb::handle_t<Run> run, const std::vector<std::size_t>& places, nb::object otherwise)
        : run_(nb::borrow(run)), places_(places), otherwise_(std::move(otherwise)) {}

    void called(nb::handle module, nb::handle args, nb::handle kwargs) const {
        if (!nb::inst_ptr<Run>(run_)->called(places_, args, kwargs)) otherwise_(module, args, kwargs);
    }

    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(run_.ptr());
        Py_VISIT(otherwise_.ptr());
        return 0;
    }
    void clear() {
        run_.reset();
        otherwise_.reset();
    }

  private:
    nb::object run_;
    const std::vector<std::size_t> places_;
    nb::object otherwise_;
};

}  // namespace

void bind_steps(nb::module_& m) {
    nb::class_<StepCounter>(m, "StepCounter", nb::type_slots(Collected<StepCounter>::slots), "A watch at the steps that are not sampled; see lettrine.torch.fast.counting.")
        .def(nb::init<const Tensors&, nb::object, nb::object, std::size_t>(), "tensors"_a, "stepped"_a, "lost"_a, "room"_a,
             nb::sig("def __init__(self, tensors: Tensors, stepped: collections.abc.Callable[[typing.Any, typing.Any, typing.Any], None], "
                     "lost: collections.abc.Callable[[typing.Any], None], room: int) -> None"))
        .def_rw("counting", &StepCounter::counting)
        .def_rw("noting", &StepCounter::noting)
        .def_rw("step", &StepCounter::step)
        .def_rw("next", &StepCounter::next)
        .def_rw("late", &StepCounter::late)
        .def("stepped", &StepCounter::stepped, "optimiser"_a.none(), "args"_a.none(), "kwargs"_a.none())
        .def("loss", &StepCounter::loss, "loss"_a.none())
        .def("losses", &StepCounter::losses);
    nb::class_<Run>(m, "Run", nb::type_slots(Collected<Run>::slots), "Sampled steps one after another; see lettrine.torch.fast.in_place.")
        .def(nb::init<nb::handle_t<StepCounter>, nb::object, nb::object, nb::object, nb::object, nb::object>(), "counter"_a, "before"_a,
             "paused"_a, "grad_enabled"_a, "graph_task"_a, "level"_a)
        .def_rw("running", &Run::running)
        .def("begin", &Run::begin, "live"_a, "parameters"_a, "groups"_a, "modules"_a, "until"_a, "room"_a, "most"_a,
             nb::sig("def begin(self, live: Live, parameters: list[typing.Any], groups: list[typing.Any], modules: list[typing.Any], until: int, "
                     "room: int, most: int) -> None"))
        .def("ran", &Run::ran)
        .def("before", &Run::before, "optimiser"_a.none(), "args"_a.none(), "kwargs"_a.none())
        .def("stepped", &Run::stepped, "optimiser"_a.none(), "args"_a.none(), "kwargs"_a.none());
    nb::class_<CallHook>(m, "CallHook", nb::type_slots(Collected<CallHook>::slots), "The hook of a module the user calls, before it runs.")
        .def("__reduce__", [](nb::handle) { return inert(); }, nb::sig("def __reduce__(self) -> tuple[typing.Any, ...]"))
        .def(nb::init<nb::handle_t<Run>, const std::vector<std::size_t>&, nb::object>(), "run"_a, "places"_a, "otherwise"_a)
        .def("__call__", &CallHook::called, "module"_a, "args"_a, "kwargs"_a);
}
