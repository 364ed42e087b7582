"""Limits of the checks of several processes, with their sources; as `limits`, of which this is a part."""

from __future__ import annotations

from typing import Final

FIRST: Final = 4  # first sampled steps, all compared
EQUAL: Final = 1e-6  # of the size of the weights: the digits of float32; replicas are sent around bit for bit
APART: Final = 1e-5  # of the size of the weights; replicas that step with one gradient stay equal bit for bit
APART_SHARE: Final = 1e-3  # of the distance that training moved them; 3e-3 if every second step is left out, healthy runs 0
GRADIENT_APART: Final = 1e-3  # of their size; gradients that were averaged are equal to 1e-7, those of two batches differ by 1
ALONG: Final = 1e-3  # of their length: two gradients that differ by less after scaling point the same way
ALONG_LEAST: Final = 3  # parameters for which that must hold
PARTLY: Final = 0.2  # of their size; gradients of two batches differ by 1, and more where they are large
AVERAGED: Final = 0.1  # of the distance that training moved them; ranks that are never averaged come to 0.3 and more
MOST_OF: Final = 0.5  # of the parameters: those that differ are named if they are fewer
SAME_LOOKS: Final = 4  # steps: random samplers do not agree so often
UNLIKE_LOOKS: Final = 3  # last steps: a mode that is set back late differs at one only
RARE: Final = 0.5  # of the ranks: what fewer of them find, of their own data alone, is a remark unless it is critical
