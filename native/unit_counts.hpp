// Counts the values of each unit that are in a zone of its activation, such as the flat ends of tanh: in one step, and over several.

#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "picked.hpp"

// The number of an output; the low and high end of a zone; whether the zone is between them, else outside; whether a unit counts only
// if all of its values are in the zone (it is dead then), else each value counts.
using Zoned = std::tuple<std::size_t, double, double, bool, bool>;

class UnitCounts {
  public:
    UnitCounts(const std::vector<Picked>& outputs, const std::vector<Zoned>& zones)
        : set_(instruction_set("").single_measures), outputs_(outputs), zones_(outputs.size()), count_(zones.size()) {
        std::size_t units = 0, column = 0;
        for (const auto& [place, low, high, inside, whole] : zones) {
            require(place < outputs_.size(), "a zone is of no output");
            Counted zone{{low, high, inside}, whole, units, column++, -1};
            for (const Counted& other : zones_[place])
                if (whole && !other.whole && !inside && !other.zone.inside && other.zone.low >= low && other.zone.high <= high)
                    zone.wider = static_cast<Index>(other.start);
            zones_[place].push_back(zone);
            units += static_cast<std::size_t>(outputs_[place].units);
        }
        counts_.resize(units);
        sums_.resize(units);
        streaks_.resize(units);
    }

    // Of all outputs together.
    std::size_t zones() const { return count_; }

    // Counts the values of an output. totals: for each zone, the number of all values, or of all units.
    void count(std::size_t place, const float* values, double* totals) {
        for (const Counted& zone : zones_[place]) totals[zone.column] = static_cast<double>(counted(zone, outputs_[place], values));
    }

    // The step is kept: adds its counts to those of the steps before.
    void add_up() {
        for (std::size_t place = 0; place < outputs_.size(); ++place)
            for (const Counted& zone : zones_[place])
                for (std::size_t u = zone.start; u < zone.start + static_cast<std::size_t>(outputs_[place].units); ++u) {
                    const bool all = counts_[u] == outputs_[place].rows;
                    sums_[u] += zone.whole ? all : counts_[u];
                    streaks_[u] = all ? streaks_[u] + 1 : 0;
                }
    }

    // For each unit of each zone, side by side, over the steps since the last call: how many of its values were in the zone, or in how
    // many steps all of them were; and in how many steps in a row, up to the last one, all of them were.
    std::pair<Result<std::int64_t>, Result<std::int64_t>> taken() { return {taken(sums_), taken(streaks_)}; }

  private:
    struct Counted {
        lettrine::Zone zone;
        bool whole;
        std::size_t start, column;  // the number of its first unit among those of all zones, and its own number
        Index wider;                // `start` of another zone of the same output that contains this one, or -1
    };

    std::int64_t counted(const Counted& zone, const Picked& output, const float* values) {
        std::int64_t* counts = counts_.data() + zone.start;
        const std::int64_t* wider = zone.wider < 0 ? nullptr : counts_.data() + zone.wider;
        if (wider && std::find(wider, wider + output.units, output.rows) == wider + output.units) {
            // No unit has all of its values in the wider zone. So none has them in this one, and nothing has to be counted.
            std::fill_n(counts, output.units, 0);
            return 0;
        }
        set_.zone_counts(values, output.rows, output.units, zone.zone, counts);
        return zone.whole ? std::count(counts, counts + output.units, output.rows)
                          : std::accumulate(counts, counts + output.units, std::int64_t{0});
    }

    static Result<std::int64_t> taken(std::vector<std::int64_t>& from) {
        std::unique_ptr<std::int64_t[]> copy(new std::int64_t[from.size() + 1]);
        std::copy(from.begin(), from.end(), copy.get());
        std::fill(from.begin(), from.end(), 0);
        return own(copy.release(), {from.size()});
    }

    const lettrine::Measures<float> set_;
    const std::vector<Picked> outputs_;
    std::vector<std::vector<Counted>> zones_;  // of each output
    const std::size_t count_;
    std::vector<std::int64_t> counts_, sums_, streaks_;  // by unit of all zones: of this step, and of those before
};
