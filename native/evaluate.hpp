// Forward passes in eval mode: losses or logits of many examples, and drawing words.

#pragma once

#include "environment.hpp"
#include "loss.hpp"
#include "workspace.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

constexpr Index eval_batch = 128;  // a multiple of every panel width

// The network made ready. Batch norm is folded to a scale and a shift. The first layer is a table of all V characters at all T
// positions, where that needs fewer operations.
template <class T>
struct Evaluator {
    static constexpr Index W = panel_width<T>, w = Vector<T>::width;

    struct Member {
        T *x[2], *rows, *z, *inputs, *input_columns, *line;
        const std::int32_t** contexts;
        std::int32_t* of;
        double* weights;
        Index* order;
    };

    const Network<T>& net;
    const Index V, C, E, K, last;
    const bool table;
    T **scales, **shifts;
    T *panels, *letters, *products;
    Pairs pairs{};
    Member* members;

    static bool by_table(const Network<T>& net, Index count) {
        const Index rows = net.vocabulary * net.context;
        return !net.direct && count > 2 * net.vocabulary && rows * round_up<T>(net.layers[0].out) <= (Index{1} << 23);
    }

    Evaluator(const Network<T>& net_, Index count, int size, Arena& arena)
        : net(net_),
          V(net_.vocabulary),
          C(net_.context),
          E(net_.width),
          K(net_.context * net_.width),
          last(net_.depth - 1),
          table(by_table(net_, count)),
          panels(nullptr),
          letters(nullptr),
          products(nullptr) {
        const Batch<T> batch(eval_batch);
        scales = arena.take<T*>(net.depth);
        shifts = arena.take<T*>(net.depth);
        Index widest = K;
        for (Index l = 0; l <= last; ++l) {
            const Index out = net.layers[l].out;
            widest = widest > out ? widest : out;
            T *scale = net.layers[l].scale ? arena.take<T>(out) : nullptr, *shift = net.layers[l].scale ? arena.take<T>(out) : nullptr;
            if (arena.counting()) continue;
            scales[l] = scale;
            shifts[l] = shift;
        }
        if (table) {
            const Index out = round_up<T>(net.layers[0].out), rows = V * C;
            panels = arena.take<T>(out * K);
            letters = arena.take<T>(rows * E);
            products = arena.take<T>(rows * out);
            pairs.begin = arena.take<Index>(C + 1);
        }
        members = arena.take<Member>(size);
        for (int i = 0; i < size; ++i) {
            Member m{};
            for (T*& x : m.x) x = arena.take<T>(batch.size(widest));
            m.rows = arena.take<T>(batch.size(widest));
            m.z = arena.take<T>(batch.size(widest));
            if (!table) {
                m.inputs = arena.take<T>(batch.size(K));
                m.input_columns = arena.take<T>(batch.size(K));
                m.line = arena.take<T>(round_up<T>(K) + W);
            }
            m.contexts = arena.take<const std::int32_t*>(eval_batch);
            m.of = arena.take<std::int32_t>(eval_batch * C);
            m.weights = arena.take<double>(round_up<double>(V));
            m.order = arena.take<Index>(V);
            if (!arena.counting()) members[i] = m;
        }
    }

    void prepare() {
        for (Index l = 0; l <= last; ++l) {
            const Layer<T>& layer = net.layers[l];
            if (!layer.scale) continue;
            for (Index i = 0; i < layer.out; ++i) {
                const double inverse = 1 / __builtin_sqrt(static_cast<double>(layer.running_variance[i]) + static_cast<double>(net.norm_eps));
                const double scale = static_cast<double>(layer.scale.value[i]) * inverse;
                scales[l][i] = static_cast<T>(scale);
                shifts[l][i] = static_cast<T>(static_cast<double>(layer.shift.value[i]) - static_cast<double>(layer.running_mean[i]) * scale);
            }
        }
        if (!table) return;
        weight_to_panels<T>(K, net.layers[0].out, net.layers[0].weight.value, panels);
        for (Index t = 0; t < C; ++t) {
            pairs.begin[t] = t * V;
            for (Index i = 0; i < V * E; ++i) letters[t * V * E + i] = net.embedding.value[i];
        }
        pairs.begin[C] = C * V;
        for (Index f = 0; f < net.layers[0].out; f += W) make_table<T>(pairs, C, E, f, letters, panels, products + f * V * C);
    }

    // Logits of `batch` examples, as columns.
    const T* logits(const Member& m, const Batch<T>& batch) const {
        if (table) {
            for (Index b = 0; b < batch.count; ++b)
                for (Index t = 0; t < C; ++t) m.of[b * C + t] = static_cast<std::int32_t>(t * V + m.contexts[b][t]);
            for (Index f = 0; f < net.layers[0].out; f += W)
                add_up<T>(batch, m.of, C, f, net.layers[0].out, net.layers[0].bias.value, products + f * V * C, m.rows);
        } else {
            gather<T>(batch, C, E, net.embedding.value, m.contexts, m.line, m.inputs);
            rows_to_columns<T>(batch, K, {0, K}, m.inputs, m.input_columns);
        }
        for (Index l = 0;; ++l) {
            const Layer<T>& layer = net.layers[l];
            const Span all{0, layer.out};
            if (l > 0 || !table) {
                linear<T>(batch, layer.in, layer.out, layer.weight.value, layer.bias.value, all, l == 0 ? m.input_columns : m.x[l % 2], m.z);
                if (l == last && net.direct) linear<T>(batch, K, V, net.direct.value, nullptr, all, m.input_columns, m.z, true);
                if (l == last && !layer.scale) return m.z;
                columns_to_rows<T>(batch, layer.out, all, m.z, m.rows);
            }
            activate_rows<T>(batch, all, layer.out, l == last ? Activation::identity : net.activation, layer.scale ? scales[l] : nullptr,
                             layer.scale ? shifts[l] : nullptr, m.rows, nullptr, m.rows);
            rows_to_columns<T>(batch, layer.out, all, m.rows, l == last ? m.z : m.x[(l + 1) % 2]);
            if (l == last) return m.z;
        }
    }

    void losses_or_logits(const Examples& examples, double* losses, T* result, int member, int size) const {
        const FlushSubnormals flush;
        const Member& m = members[member];
        const Span part = share(examples.count, eval_batch, member, size);
        for (Index first = part.begin; first < part.end; first += eval_batch) {
            const Batch<T> batch(part.end - first < eval_batch ? part.end - first : eval_batch);
            for (Index b = 0; b < batch.count; ++b) m.contexts[b] = examples.contexts + (first + b) * C;
            const T* found = logits(m, batch);
            for (Index p = 0; losses && p < batch.panels(); ++p)
                log_likelihood<T>(batch, V, p, examples.targets + first, found, losses + first);
            for (Index b = 0; result && b < batch.count; ++b)
                for (Index v = 0; v < V; ++v) result[(first + b) * V + v] = found[(b / W * round_up<T>(V) + v) * W + b % W];
        }
    }

    // exp((x - greatest) / temperature) of each of the V logits.
    void exponentials(double temperature, double* x) const {
        using D = Vector<double>;
        double most = x[0];
        for (Index v = 1; v < V; ++v) most = x[v] > most ? x[v] : most;
        for (Index v = 0; v < V; v += D::width) D::store(x + v, exp<double>((D::load(x + v) - D::set(most)) / D::set(temperature)));
    }

    // Each word is written to its end; `alive` (N,) holds the words that are not there yet.
    void sample(const Choice& choice, std::int32_t* contexts, const double* uniforms, Index words, Index length, std::int32_t* drawn,
                Index* alive) const {
        const FlushSubnormals flush;
        const Member& m = members[0];
        Index left = words;
        for (Index i = 0; i < words; ++i) alive[i] = i;
        for (Index place = 0; place < length && left > 0; ++place) {
            Index going = 0;
            for (Index first = 0; first < left; first += eval_batch) {
                const Batch<T> batch(left - first < eval_batch ? left - first : eval_batch);
                for (Index b = 0; b < batch.count; ++b) m.contexts[b] = contexts + alive[first + b] * C;
                const T* found = logits(m, batch);
                for (Index b = 0; b < batch.count; ++b) {
                    const Index word = alive[first + b];
                    for (Index v = 0; v < V; ++v)
                        m.weights[v] = static_cast<double>(found[(b / W * round_up<T>(V) + v) * W + b % W]);
                    if (choice.temperature > 0) exponentials(choice.temperature, m.weights);
                    const Index c = choose(choice, V, m.weights, m.order, uniforms[word * length + place]);
                    drawn[word * length + place] = static_cast<std::int32_t>(c);
                    if (c == 0) continue;
                    std::int32_t* window = contexts + word * C;
                    for (Index t = 0; t + 1 < C; ++t) window[t] = window[t + 1];
                    window[C - 1] = static_cast<std::int32_t>(c);
                    alive[going++] = word;
                }
            }
            left = going;
        }
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
