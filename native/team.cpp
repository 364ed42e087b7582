#include "team.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
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

// Spins for a while, since a step takes microseconds. Returns whether the condition became true.
template <class Done>
bool spun_until(Done done) {
    for (int turns = 0; turns < 4000; ++turns) {
        if (done()) return true;
        pause();
    }
    return done();
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
    // Sleeps after spinning in vain. With more threads than cores, spinning would keep the awaited thread from running.
    std::atomic<int> asleep{0};
    std::mutex mutex;
    std::condition_variable changed;

    template <class Done>
    void await(Done done) {
        if (spun_until(done)) return;
        std::unique_lock<std::mutex> lock(mutex);
        ++asleep;
        changed.wait(lock, done);
        --asleep;
    }
    // Wakes sleepers after a change. A sleeper first writes that it sleeps and then reads the change; this changes first and then
    // reads whether somebody sleeps. In one total order of events, one of the two sees the other.
    void announce() {
        if (asleep.load() == 0) return;
        { const std::lock_guard<std::mutex> lock(mutex); }
        changed.notify_all();
    }
    void begin_job() {
        job.fetch_add(1);
        announce();
    }
};

int useful_threads(double operations, int asked) {
    constexpr double least = 1.5e7;  // of one thread between barriers: with less, sharing the numbers costs as much as the second thread saves
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
        // The system gives no more threads. No thread has begun to work, so those that exist can be ended.
        shared_->over = true;
        shared_->begin_job();
        for (auto& thread : shared_->threads) thread.join();
        delete shared_;
        shared_ = nullptr;
        size_ = 1;
    }
}

Team::~Team() {
    if (!shared_) return;
    shared_->over = true;
    shared_->begin_job();
    for (auto& thread : shared_->threads) thread.join();
    delete shared_;
}

double Team::seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void Team::run(void (*work)(void*, int), void* with) {
    if (size_ > 1) {
        shared_->work = work;
        shared_->with = with;
        shared_->begin_job();
    }
    work(with, 0);
    barrier();
}

void Team::follow(int member) {
    unsigned seen = 0;
    for (;;) {
        shared_->await([&] { return shared_->job.load() != seen; });
        seen = shared_->job.load();
        if (shared_->over) return;
        shared_->work(shared_->with, member);
        wait();
    }
}

void Team::wait() {
    Shared& s = *shared_;
    const unsigned round = s.round.load();
    if (s.arrived.fetch_add(1) == size_ - 1) {
        s.arrived.store(0);
        s.round.store(round + 1);
        s.announce();
    } else {
        s.await([&] { return s.round.load() != round; });
    }
}

}  // namespace lettrine
