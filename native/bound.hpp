// A network from Python: lists of arrays are checked against the shape and become pointers.

#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "border.hpp"

#define NETWORK "shape: tuple[int, int, int, list[int], str, float, float], values: list[numpy.typing.NDArray[typing.Any] | None], running: list[numpy.typing.NDArray[typing.Any] | None], "

struct Free {
    void operator()(void* block) const { ::operator delete(block, std::align_val_t{64}); }
};

inline std::unique_ptr<void, Free> zeroed(std::size_t bytes) {
    std::unique_ptr<void, Free> block(::operator new(bytes ? bytes : 64, std::align_val_t{64}));
    std::memset(block.get(), 0, bytes);
    return block;
}

template <class T>
T* writable(nb::handle handle, std::size_t size, const char* what) {
    if (handle.is_none()) return nullptr;
    nb::ndarray<T, nb::device::cpu, nb::c_contig> array;
    require(nb::try_cast(handle, array, false),
            std::string(what) + " is not a contiguous, writeable array of the precision of the others; pass a copy");
    require(array.size() == size,
            std::string(what) + " holds " + std::to_string(array.size()) + " numbers; expected " + std::to_string(size));
    return array.data();
}

template <class T>
const T* readable(nb::handle handle, std::size_t size, const char* what) {
    if (handle.is_none()) return nullptr;
    Numbers<T> array;
    require(nb::try_cast(handle, array, false), std::string(what) + " is not a contiguous array of the precision of the others");
    require(array.size() == size,
            std::string(what) + " holds " + std::to_string(array.size()) + " numbers; expected " + std::to_string(size));
    return array.data();
}

// Shape of the network: V, T, E, widths of the hidden layers, name of the activation, momentum and eps of batch norm.
using Shape = std::tuple<Index, Index, Index, std::vector<Index>, std::string, double, double>;

inline lettrine::Activation activation_of(const std::string& name) {
    std::string known;
    for (std::size_t i = 0; i < lettrine::activation_count; ++i) {
        if (name == lettrine::activation_names[i]) return static_cast<lettrine::Activation>(i);
        known += (i ? ", " : "") + std::string(lettrine::activation_names[i]);
    }
    throw nb::value_error(("activation got '" + name + "'; expected one this build has a kernel for: " + known).c_str());
}

// Arrays in this order: embedding, direct, then weight, bias, scale, shift of each layer; None for an array that the network lacks.
// `running` holds mean and variance of each layer's batch norm. Memory: first and second moments, empty lists without.
template <class T>
struct Bound {
    std::vector<lettrine::Layer<T>> layers;
    lettrine::Network<T> net;
    double weights = 0;  // numbers in matrices

    // If `trained` is false the arrays are only read: nothing is written through the pointers.
    Bound(const Shape& shape, const nb::list& values, const nb::list& running, bool trained, const nb::list& firsts, const nb::list& seconds,
          const std::vector<double>& decays, const std::vector<double>& penalties) {
        const auto& [vocabulary, context, width, hidden, activation, momentum, eps] = shape;
        require(vocabulary >= 1 && context >= 1 && width >= 1 && !hidden.empty(), "network has no such shape");
        layers.resize(hidden.size() + 1);
        const std::size_t count = 2 + 4 * layers.size();
        require(values.size() == count && running.size() == 2 * layers.size(), "network got the wrong number of arrays");
        require(!trained || (decays.size() == count && penalties.size() == count), "network got the wrong number of coefficients");
        std::size_t place = 0;
        const auto next = [&](Index size, const char* what, bool needed) {
            lettrine::Parameter<T> p;
            const auto numbers = static_cast<std::size_t>(size);
            p.value = trained ? writable<T>(values[place], numbers, what) : const_cast<T*>(readable<T>(values[place], numbers, what));
            require(p.value || !needed, std::string(what) + " is missing");
            if (trained && p.value) {
                if (firsts.size()) p.first = writable<T>(firsts[place], numbers, what);
                if (seconds.size()) p.second = writable<T>(seconds[place], numbers, what);
                require((!firsts.size() || p.first) && (!seconds.size() || p.second), std::string("moments of ") + what + " are missing");
                p.decay = static_cast<T>(decays[place]);
                p.l2 = static_cast<T>(penalties[place]);
            }
            ++place;
            return p;
        };
        require(trained ? (firsts.size() == 0 || firsts.size() == count) && (seconds.size() == 0 || seconds.size() == count) : true,
                "network got the wrong number of moments");
        net.vocabulary = vocabulary;
        net.context = context;
        net.width = width;
        net.activation = activation_of(activation);
        net.norm_momentum = static_cast<T>(momentum);
        net.norm_eps = static_cast<T>(eps);
        net.embedding = next(vocabulary * width, "embedding.weight", true);
        net.direct = next(vocabulary * context * width, "direct.weight", false);
        Index in = context * width;
        for (std::size_t l = 0; l < layers.size(); ++l) {
            auto& layer = layers[l];
            layer.in = in;
            layer.out = l < hidden.size() ? hidden[l] : vocabulary;
            require(layer.out >= 1, "a layer has no units");
            layer.weight = next(layer.in * layer.out, "a layer's weight", true);
            layer.bias = next(layer.out, "a layer's bias", false);
            layer.scale = next(layer.out, "a batch norm's weight", false);
            layer.shift = next(layer.out, "a batch norm's bias", static_cast<bool>(layer.scale));
            const auto units = static_cast<std::size_t>(layer.out);
            const auto statistics = [&](std::size_t i) {
                return trained ? writable<T>(running[2 * l + i], units, "running statistics")
                               : const_cast<T*>(readable<T>(running[2 * l + i], units, "running statistics"));
            };
            layer.running_mean = statistics(0);
            layer.running_variance = statistics(1);
            require(!layer.scale || (layer.running_mean && layer.running_variance), "running statistics are missing");
            weights += static_cast<double>(layer.in) * static_cast<double>(layer.out);
            in = layer.out;
        }
        net.layers = layers.data();
        net.depth = static_cast<Index>(layers.size());
    }
};

inline bool is_single(const nb::list& values) {
    ReadArray first;
    require(values.size() > 0 && nb::try_cast(values[0], first, false), "embedding.weight is not a contiguous array");
    require(first.dtype() == nb::dtype<float>() || first.dtype() == nb::dtype<double>(), "parameters are neither float32 nor float64");
    return first.dtype() == nb::dtype<float>();
}

template <class T>
const lettrine::Kernels<T>& kernels_of(const lettrine::InstructionSet& set) {
    if constexpr (sizeof(T) == 4)
        return set.single;
    else
        return set.twice;
}
