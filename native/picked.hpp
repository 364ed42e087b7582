// The part of a tensor that is measured: all of it, or evenly spaced rows and units of a large one.

#pragma once

#include <algorithm>
#include <tuple>

#include "border.hpp"

// A table of `rows` and `units`, picked from a tensor of `size` values and `width` units: every `row_step`-th row, and of each row
// every `unit_step`-th unit. A parameter counts as a tensor of one unit.
struct Picked {
    Index rows, units, row_step, unit_step, size, width;

    explicit Picked(const std::tuple<Index, Index, Index, Index, Index, Index>& given)
        : rows(std::get<0>(given)), units(std::get<1>(given)), row_step(std::get<2>(given)), unit_step(std::get<3>(given)), size(std::get<4>(given)),
          width(std::get<5>(given)) {
        require(rows >= 0 && units >= 1 && row_step >= 1 && unit_step >= 1 && width >= 1 && (rows == 0 || last() < size) && (units - 1) * unit_step < width,
                "what is picked of a tensor lies outside of it");
    }

    Index count() const { return rows * units; }
    bool whole() const { return count() == size; }

    // Where the picked values are: in the tensor itself if all are picked, else in a copy.
    const float* of(const float* values, float* room) const {
        if (whole()) return values;
        copy(values, room);
        return room;
    }

    void copy(const float* values, float* room) const {
        if (whole()) {
            std::copy_n(values, size, room);
            return;
        }
        const Index gap = row_step * width, next = unit_step;
        if (units == 1)
            for (Index r = 0; r < rows; ++r) room[r] = values[r * gap];
        else if (next == 1)
            for (Index r = 0; r < rows; ++r) std::copy_n(values + r * gap, units, room + r * units);
        else
            for (Index r = 0; r < rows; ++r)
                for (Index u = 0; u < units; ++u) room[r * units + u] = values[r * gap + u * next];
    }

  private:
    Index last() const { return (rows - 1) * row_step * width + (units - 1) * unit_step; }
};

using Shape = std::tuple<Index, Index, Index, Index, Index, Index>;  // the members of `Picked`, in their order
