// The forward and the backward pass of one step. Every member of the team runs both. It owns a share of the features of every layer,
// and no sum is split between members. So the numbers are the same for any number of members.

#pragma once

#include "dropout.hpp"
#include "environment.hpp"
#include "step.hpp"
#include "workspace.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
struct Passes : Workspace<T> {
    static constexpr Index W = panel_width<T>, w = Vector<T>::width;

    const Network<T>& net;
    const Optimiser& optimiser;
    const Dropout& dropout;
    Team& team;
    Batch<T> batch;  // distinct contexts of the present step
    const bool table, last_norm;
    const Index V, C, E, K, last, B;
    int crew = 1;  // members at work

    Passes(const Network<T>& net_, const Optimiser& optimiser_, const Dropout& dropout_, Index size, Team& team_, Arena& arena)
        : Workspace<T>(net_, is_fused(optimiser_), dropout_.rate > 0, size, team_.size(), arena),
          net(net_),
          optimiser(optimiser_),
          dropout(dropout_),
          team(team_),
          batch(size),
          table(Workspace<T>::by_table(net_, size)),
          last_norm(static_cast<bool>(net_.layers[net_.depth - 1].scale)),
          V(net_.vocabulary),
          C(net_.context),
          E(net_.width),
          K(net_.context * net_.width),
          last(net_.depth - 1),
          B(size) {}

    static bool is_fused(const Optimiser& o) { return !o.adamw && o.momentum == 0; }

    using Workspace<T>::layers;
    using Workspace<T>::memory;
    using Workspace<T>::pairs;

    void barrier() {
        if (crew > 1) team.barrier();
    }

    // The features of layer l that a member owns: whole panels of the first layer if it is a table, else whole vectors.
    Span part_of(Index l, int member) const { return share(layers[l].out, l == 0 && table ? W : w, member, crew); }

    // Layer l of step s of this call, from its input to its output.
    void forward(Index l, Index s, int member) {
        const Layer<T>& layer = layers[l];
        const LayerMemory<T>& m = memory[l];
        const Span part = part_of(l, member);
        const bool by_table = l == 0 && table;
        if (!by_table) {
            const T* x = l == 0 ? this->input_columns : this->columns[l % 2];
            linear<T>(batch, layer.in, layer.out, layer.weight.value, layer.bias.value, part, x, this->z_columns);
            if (l == last && net.direct)
                linear<T>(batch, K, V, net.direct.value, nullptr, part, this->input_columns, this->z_columns, true);
            if (l == last && !last_norm) return;
        }
        by_panels(part, [&](Span some) {
            if (by_table) {
                T* products = this->products + member * this->product_table;
                make_table<T>(pairs, C, E, some.begin, this->letters, layer.weight.value, products);
                add_up<T>(batch, pairs.of, C, some.begin, layer.out, layer.bias.value, products, m.z);
            } else {
                columns_to_rows<T>(batch, layer.out, some, this->z_columns, m.z);
            }
            if (layer.scale) normalise<T>(batch, some, net.norm_eps, this->shares, m.z, m.norm);
            activate_rows<T>(batch, some, layer.out, l == last ? Activation::identity : net.activation, layer.scale.value,
                             layer.shift.value, m.z, m.before, m.a);
            if (m.mask) {
                Masks(dropout, optimiser.step + s, l).fill(batch, some, m.mask);
                drop<T>(batch, some, m.mask, m.a, m.dropped);
            }
            rows_to_columns<T>(batch, layer.out, some, m.dropped, l == last ? this->z_columns : this->columns[(l + 1) % 2]);
        });
    }

    // All layers, from the gradient of the logits on. Moves the weights as soon as no member reads them any more.
    void backward(const Step<T>& step, int member) {
        const Span logits = part_of(last, member);
        if (last_norm) {
            columns_to_rows<T>(batch, V, logits, this->z_columns, memory[last].d);
            through_norm(step, last, logits);
            barrier();
        } else if (layers[last].bias) {
            sum_columns<T>(batch, V, logits, this->z_columns, memory[last].sums);
            step.apply(layers[last].bias, logits.begin, memory[last].sums + logits.begin, logits.end - logits.begin);
        }
        for (Index l = last; l > 0; --l) {
            const Span part = part_of(l - 1, member);
            const LayerMemory<T>& below = memory[l - 1];
            by_panels(part, [&](Span some) {
                input_gradient(l, layers[l].weight.value, layers[l].in, some, below.d, false, member);
                if (below.mask) drop<T>(batch, some, below.mask, below.d, below.d);
                activate_backward<T>(batch, some, net.activation, below.before ? below.before : below.a, below.d, below.sums);
                through_norm(step, l - 1, some);
            });
            if (l == 1 && table) sum_signals<T>(batch, pairs, C, part, below.d, this->signals);
            barrier();  // now no member reads the weights of this layer any more
            weight_gradient(step, l, layers[l].weight, layers[l].in, part_of(l, member), below.dropped, memory[l].gradient);
        }
        table ? table_backward(step, member) : plain_backward(step, member);
    }

private:
    // Calls body with each panel of a member's part: the results of one loop are still in the L1 cache for the next loop.
    template <class Body>
    void by_panels(Span part, Body body) {
        for (Index f = part.begin; f < part.end;) {
            const Index next = (f / W + 1) * W, end = next < part.end ? next : part.end;
            body(Span{f, end});
            f = end;
        }
    }

    // From the gradient of the activation's input, and its sums, to that of the Linear's output. It also moves bias, scale and shift.
    void through_norm(const Step<T>& step, Index l, Span part) {
        const Layer<T>& layer = layers[l];
        const LayerMemory<T>& m = memory[l];
        const Index count = part.end - part.begin;
        if (layer.scale) {
            normalise_backward<T>(batch, part, layer.out, layer.scale.value, this->shares, m.z, m.d, m.norm);
            step.apply(layer.scale, part.begin, m.norm.scale_gradient + part.begin, count);
            step.apply(layer.shift, part.begin, m.norm.shift_gradient + part.begin, count);
            if (layer.bias) sum_rows<T>(batch, part, m.d, m.sums);  // 0 except for rounding, since the norm subtracts the bias again
        }
        if (layer.bias) {
            step.apply(layer.bias, part.begin, m.sums + part.begin, count);
        }
    }

    // d of layer l times a weight (out, in), for inputs [part) of one panel: rows.
    void input_gradient(Index l, const T* weight, Index in, Span part, T* to, bool add, int member) {
        const Index out = layers[l].out, f = part.begin, lanes = part.end - f > w ? W : w;
        const Start start = add ? Start::added : Start::zero;
        const T* slab = weight + f;
        Index slab_row = in;
        // The weights are read in place, with three exceptions, in which they are copied: the end of a row, since nothing may be
        // read beyond it; rows at a distance that maps all of them to a few sets of the cache; and large batches.
        if (f + lanes > in || in * static_cast<Index>(sizeof(T)) % 1024 == 0 || batch.count > 64) {
            T* copy = this->slabs + member * this->slab;
            for (Index o = 0; o < out; ++o)
                for (Index i = 0; i < lanes; i += w)
                    Vector<T>::store(copy + o * W + i, load_or<T>(weight + o * in, f + i, in - f - i, T(0)));
            slab = copy;
            slab_row = W;
        }
        T* at = to + batch.row(f);
        if (l == last && !last_norm) {
            for (Index p = 0; p < batch.panels(); ++p)
                product<T>(batch.count - p * W < W ? batch.count - p * W : W, lanes, out,
                           Operand<T>{this->z_columns + p * round_up<T>(out) * W, 1, W, out, 0}, slab, slab_row, at + p * W * W, W, start);
        } else {
            product<T>(batch.count, lanes, out, Operand<T>{memory[l].d, W, 1, W, batch.padded * W}, slab, slab_row, at, W, start);
        }
    }

    // d of layer l, transposed, times the inputs x (rows), for outputs [part).
    void weight_gradient(const Step<T>& step, Index l, const Parameter<T>& weight, Index in, Span part, const T* x, T* gradient) {
        const bool fused = step.fused;
        T* to = fused ? weight.value : gradient;
        const Start start = fused ? Start::scaled : Start::zero;
        const T keep = fused ? step.keep(weight) : T(1);
        const Index out = layers[l].out;
        for (Index k = 0; k < in; k += W) {
            const T* rows = x + k / W * batch.padded * W;
            const Index count = in - k < W ? in - k : W;
            if (l == last && !last_norm) {
                const Operand<T> d{this->z_columns + part.begin * W, W, 1, W, round_up<T>(out) * W};
                product<T>(part.end - part.begin, count, batch.count, d, rows, W, to + part.begin * in + k, in, start, nullptr, keep);
                continue;
            }
            for (Index o = part.begin; o < part.end;) {
                const Index next = (o / W + 1) * W, end = next < part.end ? next : part.end;
                product<T>(end - o, count, batch.count, Operand<T>{memory[l].d + batch.row(o), 1, W, batch.count, 0}, rows, W,
                           to + o * in + k, in, start, nullptr, keep);
                o = end;
            }
        }
        if (!fused) step.apply(weight, part.begin * in, gradient + part.begin * in, (part.end - part.begin) * in);
    }

    void plain_backward(const Step<T>& step, int member) {
        const Span part = share(K, w, member, crew);
        by_panels(part, [&](Span some) {
            input_gradient(0, layers[0].weight.value, K, some, this->input_gradients, false, member);
            if (net.direct) input_gradient(last, net.direct.value, K, some, this->input_gradients, true, member);
        });
        barrier();
        weight_gradient(step, 0, layers[0].weight, K, part_of(0, member), this->inputs, memory[0].gradient);
        if (net.direct) weight_gradient(step, last, net.direct, K, part_of(last, member), this->inputs, this->direct_gradient);
        if (member != 0) return;
        T* sums = begin_embedding(step);
        scatter<T>(batch, C, E, this->rows.context, this->input_gradients, this->line, sums);
        if (!step.fused) step.apply(net.embedding, 0, sums, V * E);
    }

    void table_backward(const Step<T>& step, int member) {
        const Span part = part_of(0, member);
        const Index count = pairs.count(C);
        const Parameter<T>& weight = layers[0].weight;
        letter_gradients<T>(pairs, C, E, share(count, 1, member, crew), layers[0].out, this->signals, weight.value,
                            this->letter_gradient);
        barrier();
        T* to = step.fused ? weight.value : memory[0].gradient;
        for (Index f = part.begin; f < part.end; f += W) {
            for (Index t = 0; t < C; ++t) {
                const Index first = pairs.begin[t];
                product<T>(E, W, pairs.begin[t + 1] - first, Operand<T>{this->letters + first * E, 1, E, pairs.begin[t + 1] - first, 0},
                           this->signals + (f / W * count + first) * W, W, to + (f / W * K + t * E) * W, W,
                           step.fused ? Start::scaled : Start::zero, nullptr, step.fused ? step.keep(weight) : T(1));
            }
            if (!step.fused) step.apply(weight, f * K, to + f * K, W * K);
        }
        if (member != 0) return;
        T* sums = begin_embedding(step);
        for (Index r = 0; r < count; ++r) add_row(E, this->letter_gradient + r * E, sums + pairs.letter[r] * E);
        if (!step.fused) step.apply(net.embedding, 0, sums, V * E);
    }

    // The array in which the gradients of characters are summed. In a fused step it is the embedding itself.
    T* begin_embedding(const Step<T>& step) {
        T* sums = step.fused ? net.embedding.value : this->embedding_gradient;
        const T keep = step.fused ? step.keep(net.embedding) : T(0);
        if (keep != T(1))
            for (Index i = 0; i < V * E; ++i) sums[i] = step.fused ? sums[i] * keep : T(0);
        return sums;
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
