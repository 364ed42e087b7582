// The functions of the engine for Python. Before a call, the caller checks with `within` that indices are in range.

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <vector>

#include "bound.hpp"

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

using Dropping = std::tuple<double, std::uint64_t>;  // rate of dropout, seed of its masks
using OptimiserNumbers = std::tuple<bool, double, double, double, double, std::int64_t>;

// Bytes of one character, if contexts and targets have one of the types of characters.
int bytes_of(const ReadArray& contexts, const ReadArray* targets) {
    const auto type = contexts.dtype();
    require(type == nb::dtype<std::uint8_t>() || type == nb::dtype<std::uint16_t>() || type == nb::dtype<std::int32_t>(),
            "contexts are neither uint8, uint16 nor int32");
    require(!targets || targets->dtype() == type, "contexts and targets are not of one type");
    return type.bits / 8;
}

template <class T>
Result<double> train_as(const Shape& shape, const nb::list& values, const nb::list& running, const nb::list& firsts, const nb::list& seconds,
                        const std::vector<double>& decays, const std::vector<double>& penalties, const OptimiserNumbers& numbers,
                        const ReadArray& contexts, const ReadArray& targets, const Numbers<std::int64_t>& batches,
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
    const lettrine::Examples examples{contexts.data(), targets.data(), static_cast<Index>(targets.shape(0)), bytes_of(contexts, &targets)};
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
                     const ReadArray& contexts, const ReadArray& targets, const Numbers<std::int64_t>& batches,
                     const Numbers<double>& rates, const Dropping& dropping, int threads, const std::string& isa) {
    const auto work = is_single(values) ? train_as<float> : train_as<double>;
    return work(shape, values, running, firsts, seconds, decays, penalties, numbers, contexts, targets, batches, rates, dropping, threads, isa);
}

template <class T>
nb::object evaluate_as(const Shape& shape, const nb::list& values, const nb::list& running, const ReadArray& contexts,
                       const std::optional<ReadArray>& targets, int threads, const std::string& isa) {
    const Bound<T> bound(shape, values, running, false, {}, {}, {}, {});
    require(contexts.ndim() == 2 && static_cast<Index>(contexts.shape(1)) == bound.net.context &&
                (!targets || (targets->ndim() == 1 && targets->shape(0) == contexts.shape(0))),
            "contexts and targets do not fit each other or the network");
    const std::size_t count = contexts.shape(0), vocabulary = static_cast<std::size_t>(bound.net.vocabulary);
    const lettrine::Examples examples{contexts.data(), targets ? targets->data() : nullptr, static_cast<Index>(count),
                                      bytes_of(contexts, targets ? &*targets : nullptr)};
    const auto& kernels = kernels_of<T>(instruction_set(isa));
    std::unique_ptr<double[]> losses(targets ? new double[count + 1] : nullptr);
    std::unique_ptr<T[]> logits(targets ? nullptr : new T[count * vocabulary + 1]);
    if (count > 0) {
        const nb::gil_scoped_release unlocked;
        // Chunks are a hundred examples each, and members wait for each other only at the end.
        lettrine::Team team(lettrine::useful_threads(2 * bound.weights * static_cast<double>(count), threads));
        const auto memory = zeroed(kernels.evaluate_memory(bound.net, examples.count, team.size()));
        kernels.evaluate(bound.net, examples, losses.get(), logits.get(), memory.get(), team);
    }
    return targets ? nb::cast(own(losses.release(), {count})) : nb::cast(own(logits.release(), {count, vocabulary}));
}

nb::object evaluate(const Shape& shape, const nb::list& values, const nb::list& running, const ReadArray& contexts,
                    const std::optional<ReadArray>& targets, int threads, const std::string& isa) {
    return (is_single(values) ? evaluate_as<float> : evaluate_as<double>)(shape, values, running, contexts, targets, threads, isa);
}

template <class T>
bool all_within(const ReadArray& array, T limit) {
    using Bits = std::make_unsigned_t<T>;  // a number below 0 becomes one above every limit
    const T* at = static_cast<const T*>(array.data());
    const std::size_t size = array.size();
    bool outside = false;
    for (std::size_t i = 0; i < size; ++i) outside |= static_cast<Bits>(at[i]) >= static_cast<Bits>(limit);
    return !outside;
}

bool within(const ReadArray& array, std::int64_t limit) {
    if (array.dtype() == nb::dtype<std::uint8_t>()) return limit > UINT8_MAX || all_within<std::uint8_t>(array, static_cast<std::uint8_t>(limit));
    if (array.dtype() == nb::dtype<std::uint16_t>()) return limit > UINT16_MAX || all_within<std::uint16_t>(array, static_cast<std::uint16_t>(limit));
    if (array.dtype() == nb::dtype<std::int32_t>())
        return all_within<std::int32_t>(array, static_cast<std::int32_t>(std::min<std::int64_t>(limit, INT32_MAX)));
    require(array.dtype() == nb::dtype<std::int64_t>(), "integers are neither uint8, uint16, int32 nor int64");
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

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // an object that is alive when Python ends, such as a watch in a cycle of hooks, is no leak
    m.doc() = "The compiled half of lettrine.engine.native, lettrine.health and lettrine.torch; call those.";
    m.def("train", &train, "shape"_a, "values"_a, "running"_a, "firsts"_a, "seconds"_a, "decays"_a, "penalties"_a, "optimiser"_a,
          "contexts"_a.noconvert(), "targets"_a.noconvert(), "indices"_a.noconvert(), "learning_rates"_a.noconvert(),
          "dropout"_a = Dropping{0.0, 0}, "threads"_a = 1, "isa"_a = "",
          nb::sig("def train(" NETWORK "firsts: list[numpy.typing.NDArray[typing.Any] | None], seconds: list[numpy.typing.NDArray[typing.Any] | None], decays: list[float], "
                  "penalties: list[float], optimiser: tuple[bool, float, float, float, float, int], contexts: numpy.typing.NDArray[typing.Any], "
                  "targets: numpy.typing.NDArray[typing.Any], indices: numpy.typing.NDArray[numpy.int64], learning_rates: numpy.typing.NDArray[numpy.float64], "
                  "dropout: tuple[float, int] = (0.0, 0), threads: int = 1, isa: str = '') -> numpy.typing.NDArray[numpy.float64]"),
          "Take steps in place and return their losses.");
    m.def("evaluate", &evaluate, "shape"_a, "values"_a, "running"_a, "contexts"_a.noconvert(), "targets"_a.noconvert().none(), "threads"_a = 1,
          "isa"_a = "",
          nb::sig("def evaluate(" NETWORK "contexts: numpy.typing.NDArray[typing.Any], targets: numpy.typing.NDArray[typing.Any] | None, threads: int = 1, "
                  "isa: str = '') -> numpy.typing.NDArray[typing.Any]"),
          "Losses (N,) of examples in eval mode, or, without targets, logits (N, V).");
    m.def("within", &within, "integers"_a.noconvert(), "limit"_a, nb::sig("def within(integers: numpy.typing.NDArray[typing.Any], limit: int) -> bool"),
          "Whether every integer is at least 0 and less than the limit.");
    bind_measures(m);
    bind_watching(m);
    bind_steps(m);
    bind_counting(m);
    bind_drawing(m);
    m.def("activations", &activations, "The activations that have a kernel.");
    m.def("isa", &isa, "The instruction set in use: the best one there is, or the one LETTRINE_ISA names.");
    m.def("available_isas", &available_isas, "The instruction sets this build holds and this processor has, best first.");
    m.def("multiply_adds", &multiply_adds, "rounds"_a, "isa"_a = "",
          "Run a loop of nothing but float32 multiply-adds on one core; returns how many operations that was.");
}
