// Figures of one array, in as few passes as possible.

#pragma once

#include <cstddef>
#include <cstdint>

namespace lettrine {

using Index = std::ptrdiff_t;

// count, mean, std (n - 1), rms, min, max of the finite values; how many are zero; how many are not finite. NaN is "no answer".
struct Moments {
    double count, mean, std, rms, low, high, zeros, nonfinite;
};

struct Zone {
    double low, high;
    bool inside;  // low <= v <= high, else v <= low or v >= high
};

template <class T>
struct Measures {
    // of values, or of double(values[i]) - double(minus[i]) where minus is not null
    Moments (*moments)(const T* values, const T* minus, Index size);
    // counts[u] = the number of values of unit u in rows (R, U) that are in the zone
    void (*zone_counts)(const T* values, Index rows, Index units, const Zone& zone, std::int64_t* counts);
    // counts (bins,) of trunc((v - low) * (bins / (high - low))), kept within the range, of finite values
    void (*histogram)(const T* values, Index size, double low, double high, Index bins, std::int64_t* counts);
};

}  // namespace lettrine
