"""Words that `ctc_loss` cannot find in the frames; reported as "target-range"; and one word for all, as "target-constant"."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits
from lettrine.health.checks.reading import share
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace

_SOURCE = "Graves et al. 2006, Connectionist temporal classification, section 3"


def impossible_paths(trace: Trace) -> Iterator[Finding]:
    """The blank as a letter; or fewer frames than letters."""
    for seen in trace.seen("paths"):
        if seen.figure("rows") < limits.PATHS_ROWS:
            continue
        if seen.figure("blanks") >= max(1.0, limits.PATHS_BLANK * seen.figure("letters")):
            yield _blank(seen)
        elif seen.figure("short") >= limits.PATHS_SHORT:
            yield _short(seen)


def same_words(trace: Trace) -> Iterator[Finding]:
    """The same word for all sounds: letters that are not in the list were left out."""
    for seen in trace.seen("paths"):
        if seen.figure("rows") < limits.PATHS_ROWS or seen.figure("different") != 1 or seen.figure("blanks"):
            continue
        size, known = int(seen.figure("longest")), int(seen.figure("known"))
        yield Finding(
            id="target-constant",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=1.0,
            limit=1.0,
            message=f"All {int(seen.figure('rows'))} texts that ctc_loss was to find are the same one, {size} long; the network "
            f"can say {known} letters.",
            why="The network learns to say this word whatever it hears.",
            remedy="Print a text before and after it is turned into numbers: letters that are not in the list (capitals, "
            "accents, signs) may have been left out.",
            reference=_SOURCE,
        )


def _blank(seen: Evidence) -> Finding:
    number, part = int(seen.figure("blank")), seen.figure("blanks") / seen.figure("letters")
    return Finding(
        id="target-range",
        severity="critical",
        where=(),
        steps=seen.steps,
        value=part,
        limit=limits.PATHS_BLANK,
        message=f"{share(part)} of the letters that ctc_loss is to find have the number {number}, which is its blank.",
        why="The blank stands for no letter: the network cannot say that letter, and where it should, learns to say nothing.",
        remedy=f"Number the letters without {number} (from 1 with blank=0), or give ctc_loss a blank= of its own; padding after "
        "the end of a word does not count if target_lengths is that of the word.",
        reference=_SOURCE,
    )


def _short(seen: Evidence) -> Finding:
    part, frames, needed = seen.figure("short"), int(seen.figure("frames")), int(seen.figure("needed"))
    became = "counts as 0 (zero_infinity)" if seen.figure("dropped") else "is infinite"
    return Finding(
        id="target-range",
        severity="warning",
        where=(),
        steps=seen.steps,
        value=part,
        limit=limits.PATHS_SHORT,
        message=f"{share(part)} of the words need more frames than there are: one needs {needed}, and {frames} are left. "
        f"Their loss {became}.",
        why="Each letter needs a frame of its own, and a blank between two that are the same: such words teach nothing.",
        remedy="Make fewer frames into one (smaller strides or poolings before the head), or take longer pieces of words; "
        "see that input_lengths are those after the strides, and target_lengths those of the words.",
        reference=_SOURCE,
    )
