// The functions that draw words, for Python.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/unique_ptr.h>

#include <cstdlib>
#include <mutex>
#include <optional>

#include "bound.hpp"
#include "counted.hpp"

namespace {

// Networks and counts, prepared once to draw words many times. It holds its arrays.
struct Drawer {
    virtual ~Drawer() = default;
    Index context = 0, vocabulary = 0;
    std::mutex one_at_a_time;  // a call uses what the calls before it have kept
    virtual void draw(std::int32_t* contexts, const double* uniforms, Index words, Index length, std::int32_t* drawn) = 0;
};

using Networks = std::vector<std::pair<nb::list, nb::list>>;  // values and running statistics of each, see Bound

using KindArrays = std::tuple<Numbers<std::int64_t>, Numbers<double>>;  // kinds (V,), what they add (K, K, K)

template <class T>
struct DrawerOf final : Drawer {
    const Networks lists;
    const std::optional<CountArrays> arrays;
    const std::optional<KindArrays> kinds;
    const lettrine::Choice choice;
    const int threads;
    const lettrine::Kernels<T>& kernels;
    std::vector<Bound<T>> bounds;
    std::vector<lettrine::Network<T>> networks;
    std::optional<lettrine::Counts> counts;
    std::vector<std::int64_t> families;
    lettrine::Mixture<T> mixture;
    std::unique_ptr<char, decltype(&std::free)> block{nullptr, std::free};
    void* memory = nullptr;

    DrawerOf(const Shape& shape, const Networks& lists_, const std::optional<CountArrays>& arrays_, std::pair<double, double> weights,
             const std::optional<KindArrays>& kinds_, const lettrine::Choice& choice_, int threads_, const lettrine::InstructionSet& set)
        : lists(lists_), arrays(arrays_), kinds(kinds_), choice(choice_), threads(threads_ < 1 ? 1 : threads_), kernels(kernels_of<T>(set)) {
        for (const auto& [values, running] : lists) bounds.emplace_back(shape, values, running, false, nb::list(), nb::list(), std::vector<double>(), std::vector<double>());
        for (const auto& bound : bounds) networks.push_back(bound.net);
        if (arrays) {
            counts = counts_of(*arrays);
            families = counts->grouped();
            counts->families = families.data();
        }
        vocabulary = std::get<0>(shape);
        context = std::get<1>(shape);
        require(vocabulary >= 1 && context >= 1 && (!counts || counts->vocabulary == vocabulary), "networks and counts have no such shape");
        mixture = {networks.data(), static_cast<Index>(networks.size()), vocabulary, context, weights.first, weights.second,
                   counts ? &*counts : nullptr};
        if (kinds) {
            const auto& [of, added] = *kinds;
            const auto size = added.ndim() == 3 ? static_cast<std::int64_t>(added.shape(0)) : 0;
            require(size > 0 && added.size() == static_cast<std::size_t>(size * size * size) && of.size() == static_cast<std::size_t>(vocabulary),
                    "kinds of characters have no such shape");
            for (std::size_t i = 0; i < of.size(); ++i) require(of.data()[i] >= 0 && of.data()[i] < size, "a kind of character is none");
            mixture.kinds = of.data();
            mixture.by_kinds = added.data();
            mixture.kind_count = static_cast<Index>(size);
        }
        const std::size_t bytes = kernels.draw_memory(mixture, threads) + 64;
        block.reset(static_cast<char*>(std::calloc(bytes, 1)));  // pages of zeros cost nothing until they are touched
        if (!block) throw std::bad_alloc();
        memory = block.get() + (64 - reinterpret_cast<std::uintptr_t>(block.get()) % 64) % 64;
        kernels.prepare_drawing(mixture, threads, memory);
    }

    void draw(std::int32_t* contexts, const double* uniforms, Index words, Index length, std::int32_t* drawn) override {
        constexpr Index least = 256;  // with fewer words another thread does not pay
        std::vector<Index> alive(static_cast<std::size_t>(words));
        const auto useful = static_cast<int>(words / least < threads ? words / least : threads);
        lettrine::Team team(useful);
        kernels.draw(mixture, choice, contexts, uniforms, words, length, drawn, alive.data(), threads, memory, team);
    }
};

std::unique_ptr<Drawer> drawer(const Shape& shape, const Networks& networks, const std::optional<CountArrays>& counts,
                               std::pair<double, double> weights, const std::optional<KindArrays>& kinds, double temperature, Index top_k, double top_p, int threads,
                               const std::string& isa) {
    const auto& set = instruction_set(isa);
    const lettrine::Choice choice{temperature, top_p, top_k};
    if (networks.empty() || is_single(networks[0].first)) return std::make_unique<DrawerOf<float>>(shape, networks, counts, weights, kinds, choice, threads, set);
    return std::make_unique<DrawerOf<double>>(shape, networks, counts, weights, kinds, choice, threads, set);
}

Result<std::int32_t> draw(Drawer& drawer, const Numbers<std::int32_t>& contexts, const Numbers<double>& uniforms) {
    require(contexts.ndim() == 2 && static_cast<Index>(contexts.shape(1)) == drawer.context && uniforms.ndim() == 2 &&
                uniforms.shape(0) == contexts.shape(0),
            "contexts and uniforms do not fit each other or the network");
    const std::size_t words = uniforms.shape(0), length = uniforms.shape(1);
    std::unique_ptr<std::int32_t[]> drawn(new std::int32_t[words * length + 1]());
    if (words > 0 && length > 0) {
        const nb::gil_scoped_release unlocked;
        std::vector<std::int32_t> windows(contexts.data(), contexts.data() + contexts.size());
        const std::lock_guard<std::mutex> held(drawer.one_at_a_time);
        drawer.draw(windows.data(), uniforms.data(), static_cast<Index>(words), static_cast<Index>(length), drawn.get());
    }
    return own(drawn.release(), {words, length});
}

}  // namespace

void bind_drawing(nb::module_& m) {
    nb::class_<Drawer>(m, "Drawer", "Networks and counts made ready to draw from.")
        .def("__call__", &draw, "contexts"_a.noconvert(), "uniforms"_a.noconvert(),
             nb::sig("def __call__(self, contexts: numpy.typing.NDArray[numpy.int32], uniforms: numpy.typing.NDArray[numpy.float64]) -> numpy.typing.NDArray[numpy.int32]"),
             "Words (N, L) from starting contexts.");
    m.def("drawer", &drawer, "shape"_a, "networks"_a, "counts"_a.noconvert().none(), "weights"_a, "kinds"_a.noconvert().none(), "temperature"_a = 1.0, "top_k"_a = 0, "top_p"_a = 1.0,
          "threads"_a = 1, "isa"_a = "",
          nb::sig("def drawer(shape: tuple[int, int, int, list[int], str, float, float], networks: list[tuple[list[numpy.typing.NDArray[typing.Any] | None], "
                  "list[numpy.typing.NDArray[typing.Any] | None]]], counts: " COUNTS " | None, weights: tuple[float, float], "
                  "kinds: tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float64]] | None, temperature: float = 1.0, "
                  "top_k: int = 0, top_p: float = 1.0, threads: int = 1, isa: str = '') -> Drawer"),
          "Networks, each by `weights[0]`, and counts, by `weights[1]`, made ready to draw from.");
}
