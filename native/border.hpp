// Shared by the files that know Python: bindings (the engine), measuring, watching and steps (the health check). These check the
// size of each array, so that the code they call cannot read or write outside of it. They raise ValueError, which lettrine turns
// into its own errors.

#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>

#include "mlp.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using lettrine::Index;

using ReadArray = nb::ndarray<nb::device::cpu, nb::c_contig, nb::ro>;
template <class T>
using Numbers = nb::ndarray<const T, nb::device::cpu, nb::c_contig, nb::ro>;
template <class T>
using Result = nb::ndarray<nb::numpy, T>;

// The instruction set that is asked for, else that of LETTRINE_ISA, else the best of this processor.
const lettrine::InstructionSet& instruction_set(const std::string& asked);

inline void require(bool holds, const std::string& message) {
    if (!holds) throw nb::value_error(message.c_str());
}

// A numpy array that frees its memory.
template <class T>
Result<T> own(T* data, std::initializer_list<std::size_t> shape) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Result<T>(data, shape, owner);
}

// The functions that Python's garbage collector needs for a type whose objects hold Python objects and may be part of a cycle. T
// names these objects in `traverse` and releases them in `clear`.
template <class T>
struct Collected {
    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        return nb::inst_ready(self) ? nb::inst_ptr<T>(self)->traverse(visit, arg) : 0;
    }
    static int clear(PyObject* self) {
        nb::inst_ptr<T>(self)->clear();
        return 0;
    }
    static inline PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)}, {Py_tp_clear, reinterpret_cast<void*>(clear)}, {0, nullptr}};
};

// The functions for lettrine.health, lettrine.torch and counted words.
void bind_measures(nb::module_& m);
void bind_watching(nb::module_& m);
void bind_steps(nb::module_& m);
void bind_counting(nb::module_& m);
void bind_drawing(nb::module_& m);
