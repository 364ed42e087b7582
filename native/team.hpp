// A few threads that run the same function together.

#pragma once

#include <cstddef>

namespace lettrine {

// Threads live as long as the team. Every member runs the same function and waits for the others at barriers.
// Each has a fixed part of every range, so results do not depend on timing.
class Team {
public:
    explicit Team(int size);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return size_; }
    static double seconds();  // of a monotonic clock
    void run(void (*work)(void* with, int member), void* with);
    // A barrier: no member goes on before all have reached it.
    void barrier() {
        if (size_ > 1) wait();
    }

private:
    void wait();
    void follow(int member);
    struct Shared;
    int size_;
    Shared* shared_ = nullptr;
};

// How many of the wanted threads pay, for work with a barrier about every `operations` operations.
int useful_threads(double operations, int asked);

}  // namespace lettrine
