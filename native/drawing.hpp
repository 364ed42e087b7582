// Draws words from networks and counts together. src/lettrine/inference/mixture.py defines the distribution.
//
// Words share beginnings, so a few short contexts come again and again: in one million names two thirds of all characters follow a
// context that came before. So distributions are kept, by context, as cumulated sums. The distribution of a context does not depend
// on when and by which member it is computed. So the words depend neither on what is kept nor on the number of members.

#pragma once

#include "choice.hpp"
#include "counts.hpp"
#include "evaluate.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
struct Drawing {
    static constexpr Index W = panel_width<T>;
    static constexpr Index most_slots = Index{1} << 16, most_bytes = Index{1} << 24;  // of the distributions kept by a member
    static constexpr Index waiting_room = 8 * eval_batch;
    static constexpr std::int32_t empty = 0, known = 1, pending = 2;  // pending + r: it is row r of the present batch

    struct Waiting {
        Index word;
        std::int32_t row;
    };

    struct Member {
        std::int32_t* keys;      // (slots, 1 + T): the state of a context, and the context
        double* sums;            // (slots, V)
        double* rows;            // (eval_batch, V): of new contexts
        double* counted;         // (V,)
        Index* order;            // (V,)
        std::int32_t* contexts;  // (eval_batch, T) of the rows
        Index* slot;             // (eval_batch,) of the rows
        Waiting* waiting;        // (waiting_room,) words that wait for a row
    };

    const Mixture<T>& mixture;
    const Index V, C;
    Index slots = 16;  // a power of two
    Evaluator<T>** networks;
    Member* members;

    Drawing(const Mixture<T>& mixture_, int threads, Arena& arena) : mixture(mixture_), V(mixture_.vocabulary), C(mixture_.context) {
        const Index bytes = V * static_cast<Index>(sizeof(double)) + (C + 1) * static_cast<Index>(sizeof(std::int32_t));
        while (2 * slots <= most_slots && 2 * slots * bytes <= most_bytes) slots *= 2;
        networks = arena.take<Evaluator<T>*>(mixture.size);
        for (Index n = 0; n < mixture.size; ++n) {
            auto* place = arena.take<Evaluator<T>>(1);
            if (arena.counting()) {
                const Evaluator<T> counted(mixture.networks[n], many, threads, arena);
            } else {
                networks[n] = new (place) Evaluator<T>(mixture.networks[n], many, threads, arena);
            }
        }
        members = arena.take<Member>(threads);
        for (int i = 0; i < threads; ++i) {
            Member m{};
            m.keys = arena.take<std::int32_t>(slots * (1 + C));
            m.sums = arena.take<double>(slots * V);
            m.rows = arena.take<double>(eval_batch * V + Vector<double>::width);
            m.counted = arena.take<double>(V);
            m.order = arena.take<Index>(V);
            m.contexts = arena.take<std::int32_t>(eval_batch * C);
            m.slot = arena.take<Index>(eval_batch);
            m.waiting = arena.take<Waiting>(waiting_room);
            if (!arena.counting()) members[i] = m;
        }
    }

    void prepare() const {
        for (Index n = 0; n < mixture.size; ++n) networks[n]->prepare();
    }

    // Draws the words [part), each to its end. `alive` (N,) has those that are not finished.
    void draw(const Choice& choice, std::int32_t* contexts, const double* uniforms, Span part, Index length, std::int32_t* drawn,
              Index* alive, int member) const {
        const FlushSubnormals flush;
        const Member& m = members[member];
        Index left = part.end - part.begin, place = 0, going = 0;
        alive += part.begin;
        for (Index i = 0; i < left; ++i) alive[i] = part.begin + i;
        const auto write = [&](Index word, const double* sums) {
            const Index c = choose(V, sums, uniforms[word * length + place]);
            drawn[word * length + place] = static_cast<std::int32_t>(c);
            if (c == 0) return;
            std::int32_t* window = contexts + word * C;
            for (Index t = 0; t + 1 < C; ++t) window[t] = window[t + 1];
            window[C - 1] = static_cast<std::int32_t>(c);
            alive[going++] = word;  // never past the present word
        };
        for (; place < length && left > 0; ++place) {
            Index waiting = 0;
            std::int32_t rows = 0;
            const auto finish = [&] {
                distributions(choice, m, rows, member);
                for (Index i = 0; i < waiting; ++i) write(m.waiting[i].word, m.rows + m.waiting[i].row * V);
                waiting = rows = 0;
            };
            going = 0;
            for (Index i = 0; i < left; ++i) {
                if (i + ahead < left) prefetch(m, slot_of(contexts + alive[i + ahead] * C));
                const Index word = alive[i];
                const std::int32_t* context = contexts + word * C;
                const Index slot = slot_of(context);
                std::int32_t *state = m.keys + slot * (1 + C), *key = state + 1;
                const bool same = *state != empty && is(key, context);
                if (same && *state == known) {
                    write(word, m.sums + slot * V);
                    continue;
                }
                if (!same) {  // a later context replaces an earlier one
                    for (Index t = 0; t < C; ++t) key[t] = m.contexts[rows * C + t] = context[t];
                    m.slot[rows] = slot;
                    *state = pending + rows++;
                }
                m.waiting[waiting++] = {word, *state - pending};
                if (rows == eval_batch || waiting == waiting_room) finish();
            }
            if (waiting > 0) finish();
            left = going;
        }
    }

private:
    // So many that a table for the first layer pays, however few words one call draws.
    static constexpr Index many = Index{1} << 40;
    static constexpr Index ahead = 8;  // so many words ahead, memory is prefetched

    void prefetch(const Member& m, Index slot) const {
        __builtin_prefetch(m.keys + slot * (1 + C));
        __builtin_prefetch(m.sums + slot * V + V / 2);
        __builtin_prefetch(m.sums + slot * V + V - 1);
    }

    Index slot_of(const std::int32_t* context) const {
        std::uint64_t mixed = 0;
        for (Index t = 0; t < C; ++t) mixed = (mixed + static_cast<std::uint64_t>(context[t]) + 1) * 0x9E3779B97F4A7C15u;
        return static_cast<Index>(mixed >> 32) & (slots - 1);
    }

    bool is(const std::int32_t* key, const std::int32_t* context) const {
        for (Index t = 0; t < C; ++t)
            if (key[t] != context[t]) return false;
        return true;
    }

    // Computes the rows of the batch, and keeps each whose slot is still its own.
    void distributions(const Choice& choice, const Member& m, std::int32_t rows, int member) const {
        const Batch<T> batch(rows);
        for (Index i = 0; i < rows * V; ++i) m.rows[i] = 0;
        for (Index n = 0; n < mixture.size; ++n) {
            const auto& its = networks[n]->members[member];
            for (Index r = 0; r < rows; ++r) its.contexts[r] = m.contexts + r * C;
            const T* found = networks[n]->logits(its, batch);
            for (Index r = 0; r < rows; ++r)
                for (Index v = 0; v < V; ++v)
                    m.rows[r * V + v] += mixture.share * static_cast<double>(found[(r / W * round_up<T>(V) + v) * W + r % W]);
        }
        for (std::int32_t r = 0; r < rows; ++r) {
            double* x = m.rows + r * V;
            if (mixture.counts) {
                mixture.counts->probabilities(m.contexts + r * C, C, m.counted);
                for (Index v = 0; v < V; ++v) x[v] += mixture.weight * __builtin_log(m.counted[v]);
            }
            if (mixture.kinds) {
                const std::int32_t* end = m.contexts + (r + 1) * C;
                const Index further = C > 1 ? mixture.kinds[end[-2]] : 0, nearer = mixture.kinds[end[-1]];
                const double* row = mixture.by_kinds + (further * mixture.kind_count + nearer) * mixture.kind_count;
                for (Index v = 0; v < V; ++v) x[v] += row[mixture.kinds[v]];
            }
            weigh(choice.temperature, x);
            cumulate(choice, V, x, m.order);
            const Index slot = m.slot[r];
            std::int32_t* state = m.keys + slot * (1 + C);
            if (*state != pending + r) continue;
            for (Index v = 0; v < V; ++v) m.sums[slot * V + v] = x[v];
            *state = known;
        }
    }

    // exp((x - greatest) / temperature) for each of the V logits; at temperature 0 the first of the greatest gets 1, the others 0.
    void weigh(double temperature, double* x) const {
        using D = Vector<double>;
        Index first = 0;
        for (Index v = 1; v < V; ++v) first = x[v] > x[first] ? v : first;
        const double most = x[first];
        if (temperature == 0) {
            for (Index v = 0; v < V; ++v) x[v] = v == first;
            return;
        }
        for (Index v = 0; v < V; v += D::width) {
            const int n = static_cast<int>(V - v < D::width ? V - v : D::width);
            D::store(x + v, exp<double>((D::load(x + v, n) - D::set(most)) / D::set(temperature)), n);
        }
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
