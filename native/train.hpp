// S optimiser steps, by as many members of the team as pay.

#pragma once

#include "loss.hpp"
#include "passes.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

template <class T>
struct Trainer : Passes<T> {
    const Examples& examples;
    const Schedule& schedule;
    double* losses;
    Index done = 0;
    bool finite = true;
    double fastest = 0;  // seconds of the fastest step since it was last set

    Trainer(const Network<T>& net_, const Optimiser& optimiser_, const Dropout& dropout_, const Examples& examples_,
            const Schedule& schedule_, double* losses_, Team& team_, Arena& arena)
        : Passes<T>(net_, optimiser_, dropout_, schedule_.batch, team_, arena),
          examples(examples_),
          schedule(schedule_),
          losses(losses_) {}

    using Passes<T>::B, Passes<T>::C, Passes<T>::E, Passes<T>::K, Passes<T>::V, Passes<T>::last;
    using Passes<T>::net, Passes<T>::optimiser, Passes<T>::table, Passes<T>::team, Passes<T>::batch, Passes<T>::crew;
    using Passes<T>::layers, Passes<T>::memory, Passes<T>::pairs;
    using Passes<T>::barrier, Passes<T>::part_of;

    Index run() {
        if (table) exchange_first_weight(true);
        // Tries whether other threads help. That depends on the distance of the cores and on what else they run. The numbers are the
        // same either way. A call of few steps has no time to try.
        constexpr Index trial = 3;
        const int all = team.size();
        Index weights = net.direct ? K * V : 0;
        for (Index l = 0; l <= last; ++l) weights += layers[l].in * layers[l].out;
        const bool heavy = 6.0 * static_cast<double>(weights) * static_cast<double>(B) > 3e8 * all;
        if (all > 1 && !heavy && schedule.steps >= 5 * trial) {
            const double alone = steps_by(1, trial), together = steps_by(all, done + trial);
            steps_by(together < 0.95 * alone ? all : 1, schedule.steps);
        } else {
            steps_by(heavy ? all : 1, schedule.steps);
        }
        if (table) exchange_first_weight(false);
        return done;
    }

private:
    // Goes on to step `until` with so many members. Returns the seconds of the fastest step.
    double steps_by(int members, Index until) {
        crew = members;
        fastest = __builtin_inf();
        struct Part {
            Trainer* self;
            Index until;
        } part{this, until};
        const auto work = [](void* with, int member) {
            const auto* p = static_cast<const Part*>(with);
            p->self->work(member, p->until);
        };
        crew == 1 ? work(&part, 0) : team.run(work, &part);
        return fastest;
    }

    void work(int member, Index until) {
        const FlushSubnormals flush;
        if (!finite) return;
        for (Index s = done; s < until; ++s) {
            const double began = member == 0 ? Team::seconds() : 0;
            const Step<T> step(optimiser, schedule.learning_rates[s], optimiser.step + s + 1);
            if (member == 0) read_batch(s);
            barrier();
            for (Index l = 0; l <= last; ++l) {
                this->forward(l, s, member);
                barrier();
            }
            const Span panels = share(batch.panels(), 1, member, crew);
            for (Index p = panels.begin; p < panels.end; ++p)
                this->partial[p] = cross_entropy<T>(batch, V, p, this->rows, step.scale(B), this->z_columns);
            barrier();
            double loss = 0;
            for (Index p = 0; p < batch.panels(); ++p) loss += this->partial[p];
            loss /= static_cast<double>(B);
            if (member == 0) {
                losses[s] = loss;
                done = s + 1;
                finite = __builtin_isfinite(loss);
            }
            if (!__builtin_isfinite(loss)) return;
            for (Index l = 0; l <= last; ++l)
                if (layers[l].scale) update_running<T>(B, part_of(l, member), net.norm_momentum, layers[l], memory[l].norm);
            this->backward(step, member);
            barrier();
            if (member == 0) {
                const double taken = Team::seconds() - began;
                if (taken < fastest) fastest = taken;
            }
        }
    }

    // The table's copy of the first weight and of its moments.
    void exchange_first_weight(bool borrow) {
        for (Index v = 0; v < V; ++v) pairs.found[v] = -1;
        const Parameter<T>&theirs = net.layers[0].weight, &ours = layers[0].weight;
        const Index out = net.layers[0].out;
        T* const from[] = {theirs.value, theirs.first, theirs.second};
        T* const to[] = {ours.value, ours.first, ours.second};
        for (int i = 0; i < 3; ++i) {
            if (!from[i]) continue;
            borrow ? weight_to_panels<T>(K, out, from[i], to[i]) : panels_to_weight<T>(K, out, to[i], from[i]);
        }
    }

    void read_batch(Index s) {
        const std::int64_t* indices = schedule.batches + s * B;
        batch.count = this->rows.find(examples, indices, B, C);
        if (s + 1 < schedule.steps)
            for (Index b = B; b < 2 * B; ++b) {  // the examples of the next step are scattered in memory: prefetch them
                __builtin_prefetch(examples.context(indices[b], C));
                __builtin_prefetch(examples.target(indices[b]));
            }
        const T share_of_one = T(1) / static_cast<T>(B);
        for (Index b = 0; b < batch.count; ++b) this->shares[b] = static_cast<T>(this->rows.weight[b]) * share_of_one;
        if (table) {
            pairs.find(batch.count, C, this->rows.context);
            for (Index r = 0; r < pairs.count(C); ++r)
                copy_row(E, net.embedding.value + pairs.letter[r] * E, this->letters + r * E);
        } else {
            gather<T>(batch, C, E, net.embedding.value, this->rows.context, this->line, this->inputs);
            rows_to_columns<T>(batch, K, {0, K}, this->inputs, this->input_columns);
        }
    }
};

}  // namespace lettrine::LETTRINE_NAMESPACE
