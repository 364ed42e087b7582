// All code for one instruction set. It is compiled once for each set, with its compiler options and name.

#include "drawing.hpp"
#include "measures.hpp"
#include "train.hpp"

namespace lettrine::LETTRINE_NAMESPACE {

namespace {

template <class T>
struct Entry {
    static std::size_t train_memory(const Network<T>& net, const Optimiser& optimiser, const Dropout& dropout, Index batch, int threads) {
        Arena arena(nullptr);
        const Workspace<T> counted(net, Trainer<T>::is_fused(optimiser), dropout.rate > 0, batch, threads, arena);
        return arena.used();
    }

    static Index train(const Network<T>& net, const Optimiser& optimiser, const Dropout& dropout, const Examples& examples, const Schedule& schedule, double* losses,
                       void* memory, Team& team) {
        Arena arena(memory);
        return Trainer<T>(net, optimiser, dropout, examples, schedule, losses, team, arena).run();
    }

    static std::size_t evaluate_memory(const Network<T>& net, Index count, int threads) {
        Arena arena(nullptr);
        const Evaluator<T> counted(net, count, threads, arena);
        return arena.used();
    }

    struct Evaluation {
        const Evaluator<T>* evaluator;
        const Examples* examples;
        double* losses;
        T* logits;
        int size;
    };

    static void evaluate(const Network<T>& net, const Examples& examples, double* losses, T* logits, void* memory, Team& team) {
        Arena arena(memory);
        Evaluator<T> evaluator(net, examples.count, team.size(), arena);
        evaluator.prepare();
        Evaluation work{&evaluator, &examples, losses, logits, team.size()};
        team.run(
            [](void* with, int member) {
                const auto& e = *static_cast<const Evaluation*>(with);
                e.evaluator->losses_or_logits(*e.examples, e.losses, e.logits, member, e.size);
            },
            &work);
    }

    static std::size_t draw_memory(const Mixture<T>& mixture, int threads) {
        Arena arena(nullptr);
        const Drawing<T> counted(mixture, threads, arena);
        return arena.used();
    }

    static void prepare_drawing(const Mixture<T>& mixture, int threads, void* memory) {
        Arena arena(memory);
        Drawing<T>(mixture, threads, arena).prepare();
    }

    struct Draw {
        const Drawing<T>* drawing;
        const Choice* choice;
        std::int32_t* contexts;
        const double* uniforms;
        Index words, length;
        std::int32_t* drawn;
        Index* alive;
        int size;
    };

    static void draw(const Mixture<T>& mixture, const Choice& choice, std::int32_t* contexts, const double* uniforms, Index words,
                     Index length, std::int32_t* drawn, Index* alive, int threads, void* memory, Team& team) {
        Arena arena(memory);
        const Drawing<T> drawing(mixture, threads, arena);
        Draw work{&drawing, &choice, contexts, uniforms, words, length, drawn, alive, team.size()};
        team.run(
            [](void* with, int member) {
                const auto& d = *static_cast<const Draw*>(with);
                d.drawing->draw(*d.choice, d.contexts, d.uniforms, share(d.words, 1, member, d.size), d.length, d.drawn, d.alive, member);
            },
            &work);
    }

    static constexpr Kernels<T> kernels{train_memory, train, evaluate_memory, evaluate, draw_memory, prepare_drawing, draw};
    static constexpr Measures<T> measures{moments<T>, zone_counts<T>, histogram<T>};
};

double multiply_adds(Index rounds) {
    using V = Vector<float>;
    constexpr int chains = 12;  // enough to hide the latency of the addition on every processor we know
    V::Value x[chains];
    for (int i = 0; i < chains; ++i) x[i] = V::set(static_cast<float>(i));
    V::Value factor = V::set(0.999f), term = V::set(0.001f);
    for (Index r = 0; r < rounds; ++r) {
        asm volatile("" : "+m"(factor), "+m"(term));  // else the compiler would compute the result of the loop itself
        const V::Value f = factor, t = term;
#pragma GCC unroll 16
        for (int repeat = 0; repeat < 16; ++repeat)
#pragma GCC unroll 16
            for (int i = 0; i < chains; ++i) x[i] = x[i] * f + t;
    }
    for (int i = 1; i < chains; ++i) x[0] += x[i];
    asm volatile("" : : "m"(x[0]));
    return 2.0 * chains * 16 * V::width * static_cast<double>(rounds);
}

}  // namespace

extern const InstructionSet instruction_set;
const InstructionSet instruction_set{LETTRINE_NAME, Entry<float>::kernels, Entry<double>::kernels, Entry<float>::measures,
                                     Entry<double>::measures, multiply_adds};

}  // namespace lettrine::LETTRINE_NAMESPACE
