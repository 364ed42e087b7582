#include "team.hpp"

#include <atomic>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lettrine {

namespace {

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins, since a step lasts microseconds; gives the core away after a while, since somebody else may need it.
template <class Done>
void spin_until(Done done) {
    for (int turns = 0; !done(); ++turns) {
        if (turns < 4000)
            pause();
        else
            std::this_thread::yield();
    }
}

}  // namespace

struct Team::Shared {
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<unsigned> round{0};
    alignas(64) std::atomic<unsigned> job{0};
    void (*work)(void*, int) = nullptr;
    void* with = nullptr;
    bool over = false;
    std::vector<std::thread> threads;
};

int useful_threads(double operations, int asked) {
    constexpr double least = 2e6;  // of one thread between barriers: below about 20 us the meeting costs what the help saves
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    int threads = cores > 0 && asked > cores ? cores : asked;
    if (threads > operations / least) threads = static_cast<int>(operations / least);
    return threads < 1 ? 1 : threads;
}

Team::Team(int size) : size_(size < 1 ? 1 : size) {
    if (size_ == 1) return;
    shared_ = new Shared;
    try {
        for (int member = 1; member < size_; ++member) shared_->threads.emplace_back([this, member] { follow(member); });
    } catch (...) {
        // The system gives no more threads: nobody has begun to work, so the ones there are can be sent home.
        shared_->over = true;
        shared_->job.fetch_add(1, std::memory_order_release);
        for (auto& thread : shared_->threads) thread.join();
        delete shared_;
        shared_ = nullptr;
        size_ = 1;
    }
}

Team::~Team() {
    if (!shared_) return;
    shared_->over = true;
    shared_->job.fetch_add(1, std::memory_order_release);
    for (auto& thread : shared_->threads) thread.join();
    delete shared_;
}

void Team::run(void (*work)(void*, int), void* with) {
    if (size_ > 1) {
        shared_->work = work;
        shared_->with = with;
        shared_->job.fetch_add(1, std::memory_order_release);
    }
    work(with, 0);
    barrier();
}

void Team::follow(int member) {
    unsigned seen = 0;
    for (;;) {
        spin_until([&] { return shared_->job.load(std::memory_order_acquire) != seen; });
        seen = shared_->job.load(std::memory_order_acquire);
        if (shared_->over) return;
        shared_->work(shared_->with, member);
        wait();
    }
}

void Team::wait() {
    Shared& s = *shared_;
    const unsigned round = s.round.load(std::memory_order_acquire);
    if (s.arrived.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
        s.arrived.store(0, std::memory_order_relaxed);
        s.round.store(round + 1, std::memory_order_release);
    } else {
        spin_until([&] { return s.round.load(std::memory_order_acquire) != round; });
    }
}

}  // namespace lettrine
