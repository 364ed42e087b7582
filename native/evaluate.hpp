// Forward passes in eval mode: losses or logits of many examples.

#pragma once

#include "environment.hpp"
#include "loss.hpp"
#include "workspace.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

constexpr Index eval_batch = 128;  // a multiple of every panel width

// The prepared network. Batch norm becomes a scale and a shift. The first layer is a table of all V characters at all T positions,
// if that needs fewer operations.
template <class T>
struct Evaluator {
    static constexpr Index W = panel_width<T>, w = Vector<T>::width;

    struct Member {
        T *x[2], *rows, *z, *inputs, *input_columns, *line;
        std::int32_t *characters, *targets;  // of a batch of examples
        const std::int32_t** contexts;
        std::int32_t* of;
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
            m.characters = arena.take<std::int32_t>(eval_batch * C);
            m.targets = arena.take<std::int32_t>(eval_batch);
            m.contexts = arena.take<const std::int32_t*>(eval_batch);
            m.of = arena.take<std::int32_t>(eval_batch * C);
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

    // The logits of `batch` examples, as columns.
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
            read(examples, first, batch.count, losses != nullptr, m);
            const T* found = logits(m, batch);
            for (Index p = 0; losses && p < batch.panels(); ++p)
                log_likelihood<T>(batch, V, p, m.targets, found, losses + first);
            for (Index b = 0; result && b < batch.count; ++b)
                for (Index v = 0; v < V; ++v) result[(first + b) * V + v] = found[(b / W * round_up<T>(V) + v) * W + b % W];
        }
    }

private:
    void read(const Examples& examples, Index first, Index count, bool targeted, const Member& m) const {
        examples.typed([&](const auto* contexts, const auto* targets) {
            for (Index i = 0; i < count * C; ++i) m.characters[i] = static_cast<std::int32_t>(contexts[first * C + i]);
            for (Index i = 0; targeted && i < count; ++i) m.targets[i] = static_cast<std::int32_t>(targets[first + i]);
        });
        for (Index b = 0; b < count; ++b) m.contexts[b] = m.characters + b * C;
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
