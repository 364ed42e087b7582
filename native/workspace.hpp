// The memory of a training call. The same code lays it out twice: first to count the bytes, then to use them.

#pragma once

#include "first.hpp"
#include "norm.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

// Gives out pieces of one block, each on its own cache line. Without a block it only counts.
class Arena {
public:
    explicit Arena(void* block) : block_(static_cast<char*>(block)) {}
    template <class U>
    U* take(Index count) {
        char* piece = block_ ? block_ + used_ : nullptr;
        used_ += (static_cast<std::size_t>(count) * sizeof(U) + 63) / 64 * 64;
        return reinterpret_cast<U*>(piece);
    }
    bool counting() const { return block_ == nullptr; }
    std::size_t used() const { return used_; }

private:
    char* block_;
    std::size_t used_ = 0;
};

// The memory of one layer between the forward and the backward pass.
template <class T>
struct LayerMemory {
    T* z;         // rows: the Linear's output; with batch norm, normalised
    T* before;    // rows: the activation's input, if its slope needs it
    T* a;         // rows: the activation
    T* dropped;   // rows: the activation after dropout; without dropout it is `a`
    T* mask;      // rows: of dropout
    T* d;         // rows: gradient of z
    T* gradient;  // of the weight, in its layout; none in a fused step
    T* sums;      // gradient of the bias, (out,)
    NormMemory<T> norm;
};

template <class T>
struct Workspace {
    Layer<T>* layers;  // the network's; with a table, the weight of the first one as panels
    LayerMemory<T>* memory;
    Rows rows;
    T* shares;        // (B,) the number of examples of the batch that a row stands for
    double* partial;  // loss of each panel
    T *inputs, *input_gradients;    // rows over K = T * E
    T* input_columns;
    T *columns[2], *z_columns;  // columns
    T *slabs, *line;
    Index slab, product_table;  // numbers in those of one member
    T *embedding_gradient, *direct_gradient;
    Pairs pairs;
    T *letters, *products, *signals, *letter_gradient;

    // Whether the table needs fewer operations; the number of pairs is estimated for evenly drawn characters. Only shapes decide, so
    // that a run does not depend on how it is divided into calls.
    static bool by_table(const Network<T>& net, Index batch) {
        if (net.direct || batch < 8) return false;
        double missed = 1;
        for (Index b = 0; b < batch && missed > 1e-6; ++b) missed *= 1 - 1 / static_cast<double>(net.vocabulary);
        const double seen = static_cast<double>(net.vocabulary) * (1 - missed), width = static_cast<double>(net.width);
        return 3.2 * seen * width + 5.0 * static_cast<double>(batch) < 3.0 * static_cast<double>(batch) * width;
    }

    Workspace(const Network<T>& net, bool fused, bool dropping, Index count, int members, Arena& arena) {
        constexpr Index W = panel_width<T>;
        const Batch<T> batch(count);
        const Index V = net.vocabulary, C = net.context, E = net.width, K = C * E, depth = net.depth;
        const bool table = by_table(net, count);
        layers = arena.take<Layer<T>>(depth);
        memory = arena.take<LayerMemory<T>>(depth);
        Index widest = K, tallest = V;
        for (Index l = 0; l < depth; ++l) {
            Layer<T> layer = net.layers[l];
            LayerMemory<T> m{};
            const Index out = round_up<T>(layer.out), numbers = batch.size(layer.out);
            const bool last = l == depth - 1;
            Index weights = layer.out * layer.in;
            if (l == 0 && table) {
                weights = out * K;
                layer.weight.value = arena.take<T>(weights);
                if (layer.weight.first) layer.weight.first = arena.take<T>(weights);
                if (layer.weight.second) layer.weight.second = arena.take<T>(weights);
            }
            if (!fused) m.gradient = arena.take<T>(weights);
            m.sums = arena.take<T>(out);
            if (!last || layer.scale) {
                m.a = arena.take<T>(numbers);
                m.d = arena.take<T>(numbers);
                m.z = layer.scale ? arena.take<T>(numbers) : m.a;
                if (!last && slope_of_input<T>(net.activation)) m.before = arena.take<T>(numbers);
                m.dropped = m.a;
                if (!last && dropping) {
                    m.mask = arena.take<T>(numbers);
                    m.dropped = arena.take<T>(numbers);
                }
            }
            if (layer.scale)
                m.norm = {arena.take<T>(out), arena.take<T>(out), arena.take<T>(out), arena.take<T>(out), arena.take<T>(out)};
            widest = widest > layer.out ? widest : layer.out;
            tallest = tallest > layer.out ? tallest : layer.out;
            if (!arena.counting()) {
                layers[l] = layer;
                memory[l] = m;
            }
        }
        rows.slots = Rows::slots_for(count);
        rows.characters = arena.take<std::int32_t>(count * C);
        rows.context = arena.take<const std::int32_t*>(count);
        rows.weight = arena.take<std::int32_t>(count);
        rows.row = arena.take<std::int32_t>(count);
        rows.target = arena.take<std::int32_t>(count);
        rows.of = arena.take<std::int32_t>(count);
        rows.begin = arena.take<std::int32_t>(count + 1);
        rows.slot = arena.take<std::int32_t>(rows.slots);
        rows.hash = arena.take<std::uint32_t>(count);
        shares = arena.take<T>(count);
        partial = arena.take<double>(batch.panels());
        for (T*& buffer : columns) buffer = arena.take<T>(batch.size(widest));
        z_columns = arena.take<T>(batch.size(widest));
        slab = tallest * W;
        slabs = arena.take<T>(members * slab);
        line = arena.take<T>(round_up<T>(K) + W);
        embedding_gradient = arena.take<T>(V * E);
        direct_gradient = net.direct && !fused ? arena.take<T>(V * K) : nullptr;
        product_table = 0;
        inputs = input_gradients = input_columns = letters = products = signals = letter_gradient = nullptr;
        pairs = {};
        if (table) {
            const Index most = Pairs::most(count, C, V), out = round_up<T>(net.layers[0].out);
            pairs = {arena.take<Index>(C + 1),          arena.take<std::int32_t>(most + 1),  arena.take<std::int32_t>(count * C),
                     arena.take<std::int32_t>(most + 1), arena.take<std::int32_t>(count * C), arena.take<std::int32_t>(V)};
            letters = arena.take<T>(most * E);
            product_table = most * W;
            products = arena.take<T>(members * product_table);
            signals = arena.take<T>(most * out);
            letter_gradient = arena.take<T>(most * E);
        } else {
            inputs = arena.take<T>(batch.size(K));
            input_gradients = arena.take<T>(batch.size(K));
            input_columns = arena.take<T>(batch.size(K));
        }
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
