// A few threads that run the same function together.

#pragma once

#include <cstddef>

namespace lettrine {

// Threads live as long as the team. Every member runs the same function and meets the others at barriers;
// each takes a fixed part of every range, so results do not depend on timing.
class Team {
public:
    explicit Team(int size);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return size_; }
    static double seconds();  // of a clock that never goes back
    void run(void (*work)(void* with, int member), void* with);
    // A barrier: no member goes on before all have come.
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

// How many of the threads asked for are worth it, for work that meets at barriers every `operations` operations or so.
int useful_threads(double operations, int asked);

}  // namespace lettrine
