// The engine's half of the border to Python. Whether indices are in range is asked with `within`, before.

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "border.hpp"
#include "choice.hpp"

const lettrine::InstructionSet& instruction_set(const std::string& asked) {
    const char* forced = std::getenv("LETTRINE_ISA");
    const std::string name = !asked.empty() ? asked : forced ? forced : "";
    std::string known;
    for (const auto* const* set = lettrine::instruction_sets(); *set; ++set) {
        if (name.empty() || name == (*set)->name) return **set;
        known += (known.empty() ? "" : ", ") + std::string((*set)->name);
    }
    throw nb::value_error(("instruction set got '" + name + "'" + (asked.empty() ? " from the environment variable LETTRINE_ISA" : "") +
                           "; expected one this processor has: " + known)
                              .c_str());
}

namespace {

struct Free {
    void operator()(void* block) const { ::operator delete(block, std::align_val_t{64}); }
};

std::unique_ptr<void, Free> zeroed(std::size_t bytes) {
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

lettrine::Activation activation_of(const std::string& name) {
    std::string known;
    for (std::size_t i = 0; i < lettrine::activation_count; ++i) {
        if (name == lettrine::activation_names[i]) return static_cast<lettrine::Activation>(i);
        known += (i ? ", " : "") + std::string(lettrine::activation_names[i]);
    }
    throw nb::value_error(("activation got '" + name + "'; expected one this build has a kernel for: " + known).c_str());
}

// Arrays in one order: embedding, direct, then weight, bias, scale, shift of each layer; None where the network has none.
// `running` holds mean and variance of each layer's batch norm. Memory: first and second moments, empty lists without.
template <class T>
struct Bound {
    std::vector<lettrine::Layer<T>> layers;
    lettrine::Network<T> net;
    double weights = 0;  // numbers in matrices

    // Read only where `trained` is false: the pointers are then never written through.
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

bool is_single(const nb::list& values) {
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

using Dropping = std::tuple<double, std::uint64_t>;  // rate of dropout, seed of its masks
using OptimiserNumbers = std::tuple<bool, double, double, double, double, std::int64_t>;

template <class T>
Result<double> train_as(const Shape& shape, const nb::list& values, const nb::list& running, const nb::list& firsts, const nb::list& seconds,
                        const std::vector<double>& decays, const std::vector<double>& penalties, const OptimiserNumbers& numbers,
                        const Numbers<std::int32_t>& contexts, const Numbers<std::int32_t>& targets, const Numbers<std::int64_t>& batches,
                        const Numbers<double>& rates, const Dropping& dropping, int threads, const std::string& isa) {
    const Bound<T> bound(shape, values, running, true, firsts, seconds, decays, penalties);
    const auto& [adamw, momentum, beta1, beta2, eps, step] = numbers;
    const lettrine::Optimiser optimiser{adamw, momentum, beta1, beta2, eps, step};
    const lettrine::Dropout dropout{std::get<0>(dropping), std::get<1>(dropping)};
    require(dropout.rate >= 0 && dropout.rate < 1, "dropout is not a share below 1");
    require(adamw ? firsts.size() && seconds.size() : momentum == 0 || firsts.size(), "the optimiser's moments are missing");
    require(contexts.ndim() == 2 && static_cast<Index>(contexts.shape(1)) == bound.net.context && targets.ndim() == 1 &&
                targets.shape(0) == contexts.shape(0),
            "contexts and targets do not fit each other or the network");
    require(batches.ndim() == 2 && batches.shape(1) >= 1 && rates.ndim() == 1 && rates.shape(0) == batches.shape(0),
            "indices and learning rates do not fit each other");
    const lettrine::Examples examples{contexts.data(), targets.data(), static_cast<Index>(targets.shape(0))};
    const lettrine::Schedule schedule{batches.data(), rates.data(), static_cast<Index>(batches.shape(0)), static_cast<Index>(batches.shape(1))};
    const auto& kernels = kernels_of<T>(instruction_set(isa));
    std::unique_ptr<double[]> losses(new double[static_cast<std::size_t>(schedule.steps) + 1]);
    Index done = 0;
    if (schedule.steps > 0) {
        const nb::gil_scoped_release unlocked;
        lettrine::Team team(lettrine::useful_threads(6 * bound.weights * static_cast<double>(schedule.batch), threads));
        const auto memory = zeroed(kernels.train_memory(bound.net, optimiser, dropout, schedule.batch, team.size()));
        done = kernels.train(bound.net, optimiser, dropout, examples, schedule, losses.get(), memory.get(), team);
    }
    return own(losses.release(), {static_cast<std::size_t>(done)});
}

Result<double> train(const Shape& shape, const nb::list& values, const nb::list& running, const nb::list& firsts, const nb::list& seconds,
                     const std::vector<double>& decays, const std::vector<double>& penalties, const OptimiserNumbers& numbers,
                     const Numbers<std::int32_t>& contexts, const Numbers<std::int32_t>& targets, const Numbers<std::int64_t>& batches,
                     const Numbers<double>& rates, const Dropping& dropping, int threads, const std::string& isa) {
    const auto work = is_single(values) ? train_as<float> : train_as<double>;
    return work(shape, values, running, firsts, seconds, decays, penalties, numbers, contexts, targets, batches, rates, dropping, threads, isa);
}

template <class T>
nb::object evaluate_as(const Shape& shape, const nb::list& values, const nb::list& running, const Numbers<std::int32_t>& contexts,
                       const std::optional<Numbers<std::int32_t>>& targets, int threads, const std::string& isa) {
    const Bound<T> bound(shape, values, running, false, {}, {}, {}, {});
    require(contexts.ndim() == 2 && static_cast<Index>(contexts.shape(1)) == bound.net.context &&
                (!targets || (targets->ndim() == 1 && targets->shape(0) == contexts.shape(0))),
            "contexts and targets do not fit each other or the network");
    const std::size_t count = contexts.shape(0), vocabulary = static_cast<std::size_t>(bound.net.vocabulary);
    const lettrine::Examples examples{contexts.data(), targets ? targets->data() : nullptr, static_cast<Index>(count)};
    const auto& kernels = kernels_of<T>(instruction_set(isa));
    std::unique_ptr<double[]> losses(targets ? new double[count + 1] : nullptr);
    std::unique_ptr<T[]> logits(targets ? nullptr : new T[count * vocabulary + 1]);
    if (count > 0) {
        const nb::gil_scoped_release unlocked;
        // Chunks are a hundred examples each, and meet only at the end.
        lettrine::Team team(lettrine::useful_threads(2 * bound.weights * static_cast<double>(count), threads));
        const auto memory = zeroed(kernels.evaluate_memory(bound.net, examples.count, team.size()));
        kernels.evaluate(bound.net, examples, losses.get(), logits.get(), memory.get(), team);
    }
    return targets ? nb::cast(own(losses.release(), {count})) : nb::cast(own(logits.release(), {count, vocabulary}));
}

nb::object evaluate(const Shape& shape, const nb::list& values, const nb::list& running, const Numbers<std::int32_t>& contexts,
                    const std::optional<Numbers<std::int32_t>>& targets, int threads, const std::string& isa) {
    return (is_single(values) ? evaluate_as<float> : evaluate_as<double>)(shape, values, running, contexts, targets, threads, isa);
}

template <class T>
Result<std::int32_t> sample_as(const Shape& shape, const nb::list& values, const nb::list& running, const Numbers<std::int32_t>& contexts,
                               const Numbers<double>& uniforms, double temperature, Index top_k, double top_p, const std::string& isa) {
    const Bound<T> bound(shape, values, running, false, {}, {}, {}, {});
    require(contexts.ndim() == 2 && static_cast<Index>(contexts.shape(1)) == bound.net.context && uniforms.ndim() == 2 &&
                uniforms.shape(0) == contexts.shape(0),
            "contexts and uniforms do not fit each other or the network");
    const std::size_t words = uniforms.shape(0), length = uniforms.shape(1);
    const auto& kernels = kernels_of<T>(instruction_set(isa));
    std::unique_ptr<std::int32_t[]> drawn(new std::int32_t[words * length + 1]());
    if (words > 0 && length > 0) {
        const nb::gil_scoped_release unlocked;
        std::vector<std::int32_t> windows(contexts.data(), contexts.data() + contexts.size());
        const lettrine::Choice choice{temperature, top_p, top_k};
        const auto memory = zeroed(kernels.sample_memory(bound.net, static_cast<Index>(words), static_cast<Index>(length)));
        kernels.sample(bound.net, choice, windows.data(), uniforms.data(), static_cast<Index>(words), static_cast<Index>(length), drawn.get(),
                       memory.get());
    }
    return own(drawn.release(), {words, length});
}

Result<std::int32_t> sample(const Shape& shape, const nb::list& values, const nb::list& running, const Numbers<std::int32_t>& contexts,
                            const Numbers<double>& uniforms, double temperature, Index top_k, double top_p, const std::string& isa) {
    const auto work = is_single(values) ? sample_as<float> : sample_as<double>;
    return work(shape, values, running, contexts, uniforms, temperature, top_k, top_p, isa);
}

// One character of each row of logits (N, V).
Result<std::int32_t> choose_rows(const Numbers<double>& logits, const Numbers<double>& uniforms, double temperature, Index top_k, double top_p) {
    require(logits.ndim() == 2 && logits.shape(1) >= 1 && uniforms.ndim() == 1 && uniforms.shape(0) == logits.shape(0),
            "logits and uniforms do not fit each other");
    const std::size_t count = logits.shape(0), v = logits.shape(1);
    std::unique_ptr<std::int32_t[]> drawn(new std::int32_t[count + 1]);
    {
        const nb::gil_scoped_release unlocked;
        std::vector<double> weights(v);
        std::vector<Index> order(v);
        const lettrine::Choice choice{temperature, top_p, top_k};
        for (std::size_t i = 0; i < count; ++i) {
            const double* row = logits.data() + i * v;
            const double most = *std::max_element(row, row + v);
            for (std::size_t c = 0; c < v; ++c) weights[c] = temperature > 0 ? std::exp((row[c] - most) / temperature) : row[c];
            drawn[i] = static_cast<std::int32_t>(lettrine::choose(choice, static_cast<Index>(v), weights.data(), order.data(), uniforms.data()[i]));
        }
    }
    return own(drawn.release(), {count});
}

template <class T>
bool all_within(const ReadArray& array, T limit) {
    const T* at = static_cast<const T*>(array.data());
    const std::size_t size = array.size();
    bool outside = false;
    for (std::size_t i = 0; i < size; ++i) outside |= (at[i] < 0) | (at[i] >= limit);
    return !outside;
}

bool within(const ReadArray& array, std::int64_t limit) {
    if (array.dtype() == nb::dtype<std::int32_t>())
        return all_within<std::int32_t>(array, static_cast<std::int32_t>(std::min<std::int64_t>(limit, INT32_MAX)));
    require(array.dtype() == nb::dtype<std::int64_t>(), "integers are neither int32 nor int64");
    return all_within<std::int64_t>(array, limit);
}

std::vector<std::string> activations() { return {std::begin(lettrine::activation_names), std::end(lettrine::activation_names)}; }

std::string isa() { return instruction_set("").name; }

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const auto* const* set = lettrine::instruction_sets(); *set; ++set) names.emplace_back((*set)->name);
    return names;
}

double multiply_adds(Index rounds, const std::string& name) {
    const auto& set = instruction_set(name);
    const nb::gil_scoped_release unlocked;
    return set.multiply_adds(rounds);
}

}  // namespace

#define NETWORK "shape: tuple[int, int, int, list[int], str, float, float], values: list[numpy.typing.NDArray[typing.Any] | None], running: list[numpy.typing.NDArray[typing.Any] | None], "

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // what is alive when Python ends, such as a watch in a cycle of hooks, is no fault
    m.doc() = "The compiled half of lettrine.engine.native, lettrine.health and lettrine.torch; call those.";
    m.def("train", &train, "shape"_a, "values"_a, "running"_a, "firsts"_a, "seconds"_a, "decays"_a, "penalties"_a, "optimiser"_a,
          "contexts"_a.noconvert(), "targets"_a.noconvert(), "indices"_a.noconvert(), "learning_rates"_a.noconvert(),
          "dropout"_a = Dropping{0.0, 0}, "threads"_a = 1, "isa"_a = "",
          nb::sig("def train(" NETWORK "firsts: list[numpy.typing.NDArray[typing.Any] | None], seconds: list[numpy.typing.NDArray[typing.Any] | None], decays: list[float], "
                  "penalties: list[float], optimiser: tuple[bool, float, float, float, float, int], contexts: numpy.typing.NDArray[numpy.int32], "
                  "targets: numpy.typing.NDArray[numpy.int32], indices: numpy.typing.NDArray[numpy.int64], learning_rates: numpy.typing.NDArray[numpy.float64], "
                  "dropout: tuple[float, int] = (0.0, 0), threads: int = 1, isa: str = '') -> numpy.typing.NDArray[numpy.float64]"),
          "Take steps in place and return their losses.");
    m.def("evaluate", &evaluate, "shape"_a, "values"_a, "running"_a, "contexts"_a.noconvert(), "targets"_a.noconvert().none(), "threads"_a = 1,
          "isa"_a = "",
          nb::sig("def evaluate(" NETWORK "contexts: numpy.typing.NDArray[numpy.int32], targets: numpy.typing.NDArray[numpy.int32] | None, threads: int = 1, "
                  "isa: str = '') -> numpy.typing.NDArray[typing.Any]"),
          "Losses (N,) of examples in eval mode, or, without targets, logits (N, V).");
    m.def("sample", &sample, "shape"_a, "values"_a, "running"_a, "contexts"_a.noconvert(), "uniforms"_a.noconvert(), "temperature"_a = 1.0,
          "top_k"_a = 0, "top_p"_a = 1.0, "isa"_a = "",
          nb::sig("def sample(" NETWORK "contexts: numpy.typing.NDArray[numpy.int32], uniforms: numpy.typing.NDArray[numpy.float64], temperature: float = 1.0, "
                  "top_k: int = 0, top_p: float = 1.0, isa: str = '') -> numpy.typing.NDArray[numpy.int32]"),
          "Draw words (N, L) from starting contexts.");
    m.def("choose", &choose_rows, "logits"_a.noconvert(), "uniforms"_a.noconvert(), "temperature"_a = 1.0, "top_k"_a = 0, "top_p"_a = 1.0,
          nb::sig("def choose(logits: numpy.typing.NDArray[numpy.float64], uniforms: numpy.typing.NDArray[numpy.float64], temperature: float = 1.0, "
                  "top_k: int = 0, top_p: float = 1.0) -> numpy.typing.NDArray[numpy.int32]"),
          "One character of each row of logits.");
    m.def("within", &within, "integers"_a.noconvert(), "limit"_a, nb::sig("def within(integers: numpy.typing.NDArray[typing.Any], limit: int) -> bool"),
          "Whether every integer is at least 0 and less than the limit.");
    bind_measures(m);
    bind_watching(m);
    bind_steps(m);
    bind_counting(m);
    m.def("activations", &activations, "The activations that have a kernel.");
    m.def("isa", &isa, "The instruction set in use: the best one there is, or the one LETTRINE_ISA names.");
    m.def("available_isas", &available_isas, "The instruction sets this build holds and this processor has, best first.");
    m.def("multiply_adds", &multiply_adds, "rounds"_a, "isa"_a = "",
          "Run a loop of nothing but float32 multiply-adds on one core; returns how many operations that was.");
}
