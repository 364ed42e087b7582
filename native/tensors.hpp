// Tensors of another library, read in place.

#pragma once

#include <nanobind/stl/optional.h>

#include <optional>

#include "border.hpp"

// The functions that a library of tensors offers by DLPack, as far as they are used here (DLPackExchangeAPI of dlpack.h, version 1).
struct Exchange {
    std::uint32_t major, minor;
    const void* previous;
    const void* unused[3];  // to allocate, to import, to export
    int (*describe)(void* tensor, nb::dlpack::dltensor* out);
};

// Reads tensors of one type of another library in place.
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

    // A tensor in memory. packed: contiguous.
    struct Found {
        nb::dlpack::dltensor as;
        Index size = 1;
        bool packed = true;

        Index units() const { return as.ndim > 1 ? as.shape[as.ndim - 1] : 1; }

        // Of whole numbers, or of true and false.
        bool whole() const {
            using Code = nb::dlpack::dtype_code;
            const auto code = static_cast<Code>(as.dtype.code);
            return code == Code::Int || code == Code::UInt || code == Code::Bool;
        }

        // Null if it is not of T, contiguous and in this memory.
        template <class T>
        const T* values() const {
            if (!packed || as.device.device_type != nb::device::cpu::value || as.dtype != nb::dtype<T>() || !as.data) return nullptr;
            return reinterpret_cast<const T*>(static_cast<const char*>(as.data) + as.byte_offset);
        }
    };

    // Nothing if it is no tensor, or a tensor without memory.
    std::optional<Found> find(nb::handle tensor) const {
        Found found;
        if (!PyObject_TypeCheck(tensor.ptr(), reinterpret_cast<PyTypeObject*>(kind_.ptr()))) return std::nullopt;
        if (describe_(tensor.ptr(), &found.as)) {
            PyErr_Clear();
            return std::nullopt;
        }
        for (int axis = found.as.ndim - 1; axis >= 0; --axis) {
            const std::int64_t length = found.as.shape[axis];
            found.packed = found.packed && (!found.as.strides || length == 1 || found.as.strides[axis] == found.size);
            found.size *= length;
        }
        return found;
    }

    // The address of the values of a tensor; null unless it is of T, contiguous, of this size and in this memory.
    template <class T>
    const T* address(nb::handle tensor, Index size) const {
        const auto found = find(tensor);
        return found && found->size == size ? found->values<T>() : nullptr;
    }

    // Whether it is of exactly the type that is read, not of a subclass.
    bool plain(nb::handle tensor) const { return reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr())) == kind_.ptr(); }

    // The value of a number, or of a tensor of float32 or float64 in this memory that holds one number.
    std::optional<double> number(nb::handle tensor) const {
        if (PyFloat_CheckExact(tensor.ptr())) return PyFloat_AsDouble(tensor.ptr());
        if (const auto* value = address<float>(tensor, 1)) return static_cast<double>(*value);
        if (const auto* value = address<double>(tensor, 1)) return *value;
        return std::nullopt;
    }

  private:
    nb::type_object kind_;
    int (*describe_)(void*, nb::dlpack::dltensor*) = nullptr;
};
