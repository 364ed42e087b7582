// Counts from Python.

#pragma once

#include <tuple>

#include "border.hpp"
#include "counts.hpp"

// Vocabulary, levels, children, begin, followers, shares, passed_on: see lettrine::Counts.
using CountArrays = std::tuple<Index, Numbers<std::int64_t>, Numbers<std::int64_t>, Numbers<std::int64_t>, Numbers<std::int32_t>, Numbers<double>, Numbers<double>>;

#define COUNTS "tuple[int, numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], " \
               "numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64]]"

// Their pointers, after a check that the arrays fit each other.
lettrine::Counts counts_of(const CountArrays& arrays);
