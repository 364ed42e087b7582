// Measures a network of another library at a sampled step, in the memory of its tensors: outputs when they are made, their gradients
// when they arrive, parameters just before and just after the optimiser's step.

#pragma once

#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "tensors.hpp"
#include "unit_counts.hpp"

template <class T>
using Table = nb::ndarray<T, nb::device::cpu, nb::c_contig>;

// Names and keys used at every call. ours: the key of our hook on a tensor; torch numbers its own hooks from 0 on.
struct Names {
    nb::object hooks = name("_backward_hooks"), node = name("grad_fn"), add = name("_register_hook_dict"), gradient = name("grad"),
               trained = name("requires_grad"), ours = nb::int_(-1);

    static nb::object name(const char* text) { return nb::steal(PyUnicode_InternFromString(text)); }
};

// A copy or a pickle of a hook is this: a method of the standard library that takes anything and does nothing.
inline nb::tuple inert() {
    return nb::make_tuple(nb::module_::import_("builtins").attr("getattr"),
                          nb::make_tuple(nb::module_::import_("contextlib").attr("nullcontext")(), "__exit__"));
}

inline bool truth(nb::handle object) { return object.ptr() == Py_True; }

// The tensors of a network that does the same at every step: outputs and their gradients, which the `OutputHook` of each passes on, and
// parameters and their gradients. A step's figures go to one row of the tables. A tensor of another size, type, layout or device than
// before is not read: then the step cannot be measured here, and `expected` is false.
class Live {
  public:
    bool expected = false;     // whether the present step can still be measured here
    std::size_t heard = 0;  // outputs of this step

    Live(const Tensors& tensors, const std::vector<Shape>& parameters, const std::vector<Shape>& outputs, const std::vector<Zoned>& zones,
         Table<double> moments, Table<double> moved, Table<float> earlier, Table<double> totals, nb::object range, nb::object look)
        : set_(instruction_set("").single_measures), tensors_(tensors), parameters_(parameters.begin(), parameters.end()), units_({outputs.begin(), outputs.end()}, zones), moments_(moments), moved_(moved), earlier_(earlier),
          totals_(totals), slots_(moments.ndim() ? moments.shape(0) : 0), range_(std::move(range)), look_(std::move(look)),
          hooks_type_(nb::module_::import_("collections").attr("OrderedDict")) {
        for (const Shape& shape : outputs) outputs_.emplace_back(shape);
        std::size_t total = 0, most = 0;
        for (const Picked& parameter : parameters_) {
            total += static_cast<std::size_t>(parameter.count());
            if (!parameter.whole()) most = std::max(most, static_cast<std::size_t>(parameter.count()));
        }
        for (const Output& output : outputs_)
            if (!output.part.whole()) most = std::max(most, static_cast<std::size_t>(output.part.count()));
        room_.resize(most);
        require(moments_.size() == slots_ * 16 * (parameters_.size() + outputs_.size()) && moved_.size() == slots_ * 8 * parameters_.size() &&
                    earlier_.size() == total && totals_.size() == slots_ * units_.zones(),
                "the tables have not the sizes that the tensors ask for");
        addresses_.resize(2 * parameters_.size());
    }

    // A step begins. bins: of histograms, 0 for none. looked: the tensors that `look` is called with, outputs first, then gradients.
    void listen(std::size_t at, Index bins, const std::vector<std::size_t>& looked) {
        require(at < slots_ && bins >= 0, "there is no room for another step");
        release();
        slot_ = at;
        bins_ = bins;
        looked_.assign(2 * outputs_.size(), false);
        for (const std::size_t row : looked) {
            require(row < looked_.size(), "there is no such output");
            looked_[row] = true;
        }
        details_.clear();
        counted_.clear();
        for (Output& output : outputs_) output.heard = output.answered = false;
        heard = answered_ = 0;
        expected = true;
    }

    // Moves this step to the first row. The rows before it are not needed any more.
    void restart() {
        if (!slot_) return;
        const std::size_t own = parameters_.size();
        std::copy_n(moments_.data() + 16 * slot_ * (own + outputs_.size()), 16 * (own + outputs_.size()), moments_.data());
        std::copy_n(moved_.data() + 8 * slot_ * own, 8 * own, moved_.data());
        std::copy_n(totals_.data() + slot_ * units_.zones(), units_.zones(), totals_.data());
        slot_ = 0;
    }

    // The modules that make these outputs are called again. Returns whether their gradients have come already; if not, the outputs
    // are forgotten.
    bool again(const std::vector<std::size_t>& places) {
        for (const std::size_t place : places)
            if (at(place).answered) return true;
        for (const std::size_t place : places) {
            heard -= at(place).heard;
            at(place).heard = false;
        }
        return false;
    }

    // The outputs of this step whose gradients have not come yet.
    std::vector<std::size_t> unanswered() const {
        std::vector<std::size_t> places;
        for (std::size_t i = 0; i < outputs_.size(); ++i)
            if (outputs_[i].heard && !outputs_[i].answered) places.push_back(i);
        return places;
    }

    // An output was made: measures it. Does nothing and returns false if it is not as before, or has no graph.
    bool hear(std::size_t place, nb::handle tensor, nb::handle hook) {
        Output& output = at(place);
        const auto found = tensors_.find(tensor);
        if (!found || !tensors_.plain(tensor) || found->size != output.part.size || output.part.width != found->units()) return false;
        const auto* values = found->values<float>();
        if (!values) return false;
        const nb::object node = nb::getattr(tensor, names_.node);
        if (node.is_none() || !nb::getattr(tensor, names_.hooks).is_none()) return false;
        const nb::object hooks = hooks_type_();
        if (PyObject_SetItem(hooks.ptr(), names_.ours.ptr(), hook.ptr())) throw nb::python_error();
        // The same as `register_hook`, but without its handle.
        nb::setattr(tensor, names_.hooks, hooks);
        if (!nb::steal(PyObject_CallMethodObjArgs(node.ptr(), names_.add.ptr(), tensor.ptr(), nullptr)).is_valid())
            throw nb::python_error();
        output.hooks = hooks;
        output.heard = true;
        ++heard;
        values = output.part.of(values, room_.data());
        note(place, values, output.part.count());
        units_.count(place, values, totals_.data() + slot_ * units_.zones());
        if (looked_[place]) look_(place, tensor);
        return true;
    }

    // The gradient of an output has come: measures it. Returns false if it is not as before.
    bool answer(std::size_t place, nb::handle gradient) {
        Output& output = at(place);
        if (output.answered || nb::len(output.hooks) != 1 || !tensors_.plain(gradient) || truth(nb::getattr(gradient, names_.trained))) return false;
        const auto found = tensors_.find(gradient);
        const nb::object packed = found && !found->packed ? gradient.attr("contiguous")() : nb::borrow(gradient);
        const auto* values = tensors_.address<float>(packed, output.part.size);
        if (!values) return false;
        output.answered = true;
        ++answered_;
        const std::size_t row = outputs_.size() + place;
        note(row, output.part.of(values, room_.data()), output.part.count());
        if (looked_[row]) look_(row, gradient);
        return true;
    }

    // Measures the parameters just before the step, and keeps a copy. Does nothing and returns false if something in the step was not
    // as before.
    bool before(const nb::list& parameters) {
        const std::size_t own = parameters_.size();
        if (!expected || heard < outputs_.size() || answered_ < outputs_.size() || parameters.size() != own) return false;
        for (std::size_t i = 0; i < own; ++i) {
            const nb::handle tensor = parameters[i];
            addresses_[i] = tensors_.address<float>(tensor, parameters_[i].size);
            // The parameter keeps its gradient alive. A parameter that is not trained any more is not as before.
            addresses_[own + i] = addresses_[i] ? tensors_.address<float>(nb::getattr(tensor, names_.gradient), parameters_[i].size) : nullptr;
            if (!addresses_[own + i] || !truth(nb::getattr(tensor, names_.trained))) return false;
        }
        double* row = moments_.data() + 16 * slot_ * (own + outputs_.size());
        float* kept = earlier_.data();
        for (std::size_t i = 0; i < own; ++i) {
            const Picked& parameter = parameters_[i];
            parameter.copy(addresses_[i], kept);
            write(row + 8 * i, set_.moments(kept, nullptr, parameter.count()));
            write(row + 8 * (own + i), set_.moments(parameter.of(addresses_[own + i], room_.data()), nullptr, parameter.count()));
            kept += parameter.count();
        }
        release();
        return true;
    }

    // Measures how far the step has moved the parameters, NaN if they cannot be read any more.
    void after(const nb::list& parameters) {
        const std::size_t own = parameters_.size();
        double* row = moved_.data() + 8 * slot_ * own;
        const float* kept = earlier_.data();
        for (std::size_t i = 0; i < own; ++i) {
            const float* values = i < parameters.size() ? tensors_.address<float>(parameters[i], parameters_[i].size) : nullptr;
            if (!values) {
                std::fill_n(row, 8 * own, __builtin_nan(""));
                return;
            }
            const Picked& parameter = parameters_[i];
            write(row + 8 * i, set_.moments(parameter.of(values, room_.data()), kept, parameter.count()));
            kept += parameter.count();
        }
    }

    // The step is kept: its row stays, and the counts of its units belong to those that `units` gives next. They do not before: the
    // rows may be asked for between `after` and this, and the step is not among them yet.
    void keep() { units_.add_up(); }

    // Of the kept steps; see `UnitCounts::taken`.
    std::pair<Result<std::int64_t>, Result<std::int64_t>> units() { return units_.taken(); }

    // The histograms of this step: (place, low, high) of each, outputs first, then their gradients; and counts (n, bins).
    std::pair<std::vector<std::tuple<std::size_t, double, double>>, Result<std::int64_t>> details() const {
        std::unique_ptr<std::int64_t[]> counts(new std::int64_t[counted_.size() + 1]);
        std::copy(counted_.begin(), counted_.end(), counts.get());
        return {details_, own(counts.release(), {details_.size(), static_cast<std::size_t>(bins_)})};
    }

    bool heard_of(std::size_t place) { return at(place).heard; }

    std::size_t slot() const { return slot_; }

    // The network is called with this. Returns whether it is a tensor of finite numbers, of which `most` are read, or of whole
    // numbers. No answer if it is no tensor.
    std::optional<bool> sound(nb::handle given, Index most) const {
        const auto found = tensors_.find(given);
        if (!found) return std::nullopt;
        const auto* values = found->values<float>();
        if (!tensors_.plain(given)) return false;
        if (found->whole()) return true;
        if (!values) return false;
        if (found->size <= most) return set_.moments(values, nullptr, found->size).nonfinite == 0;
        bool finite = true;
        for (Index i = 0, step = (found->size - 1) / most + 1; i < found->size; i += step) finite = finite && __builtin_isfinite(values[i]);
        return finite;
    }

    // For the garbage collector: `look` may hold the owner of this object, and the hooks on a tensor hold this object.
    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(range_.ptr());
        Py_VISIT(look_.ptr());
        for (const Output& output : outputs_) Py_VISIT(output.hooks.ptr());
        return 0;
    }
    void clear() {
        range_.reset();
        look_.reset();
        for (Output& output : outputs_) output.hooks.reset();
    }

  private:
    struct Output {
        explicit Output(const Shape& shape) : part(shape) {}
        Picked part;
        bool heard = false, answered = false;
        nb::object hooks{};  // of the tensor, until the step
    };

    Output& at(std::size_t place) {
        require(place < outputs_.size(), "there is no such output");
        return outputs_[place];
    }

    static void write(double* row, const lettrine::Moments& found) { std::memcpy(row, &found, sizeof found); }

    void note(std::size_t row, const float* values, Index size) {
        const lettrine::Moments found = set_.moments(values, nullptr, size);
        const std::size_t width = 2 * (parameters_.size() + outputs_.size());
        write(moments_.data() + 8 * (slot_ * width + 2 * parameters_.size() + row), found);
        if (!bins_) return;
        const nb::object ends = range_(found.mean, found.std, found.low, found.high);
        if (ends.is_none()) return;
        const auto [low, high] = nb::cast<std::pair<double, double>>(ends);
        require(low < high, "the range of a histogram is empty");
        counted_.resize(counted_.size() + static_cast<std::size_t>(bins_));
        set_.histogram(values, size, low, high, bins_, counted_.data() + counted_.size() - bins_);
        details_.emplace_back(row, low, high);
    }

    // Removes our hooks from tensors: the user may keep the tensors.
    void release() {
        for (Output& output : outputs_) {
            if (output.hooks.is_valid() && PyObject_DelItem(output.hooks.ptr(), names_.ours.ptr())) PyErr_Clear();
            output.hooks.reset();
        }
    }

    const lettrine::Measures<float> set_;
    const Tensors tensors_;
    const std::vector<Picked> parameters_;
    UnitCounts units_;
    std::vector<Output> outputs_;
    Table<double> moments_, moved_;
    Table<float> earlier_;
    Table<double> totals_;
    const std::size_t slots_;
    nb::object range_, look_;
    const nb::object hooks_type_;
    const Names names_;
    std::vector<const float*> addresses_;  // of parameters, then of their gradients
    std::vector<float> room_;              // for a copy of the values picked from one tensor
    std::size_t slot_ = 0, answered_ = 0;
    Index bins_ = 0;
    std::vector<bool> looked_;
    std::vector<std::tuple<std::size_t, double, double>> details_;
    std::vector<std::int64_t> counted_;
};
