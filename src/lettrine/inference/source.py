"""Draws rows of characters that meet a wish: words drawn whole, or through a tree of prefixes if few meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Doubles, Integers
from lettrine.inference.automaton import Automaton
from lettrine.inference.predictor import Cuts, Predictor, draw_on
from lettrine.text.labels import without_sign

if TYPE_CHECKING:
    from lettrine.inference.sampling import Sampling
    from lettrine.inference.tree import PrefixTree

BATCH: Final = 4096  # words drawn in parallel, fewer if an array of so many rows would hold more than
NUMBERS: Final = 2**22  # numbers: with 20,000 characters to choose from, or words of 100,000 characters
FIRST_LOOK: Final = 2048  # words drawn whole before the share that meets the wish is estimated …
SELDOM: Final = 0.05  # … and the share below which the tree of prefixes is tried
TREE_TRIAL: Final = 1024  # words drawn from the tree before checking how much of the model it has ruled out …
TREE_WORTH: Final = 0.5  # … and the share it must have ruled out by then: a draw through it takes six times as long
IN_VAIN: Final = 2**20  # draws in a row without a word that meets the wish, before giving up, fewer if a large vocabulary …
IN_VAIN_NUMBERS: Final = 2**25  # … makes each of them expensive: draws times V …
IN_VAIN_LEAST: Final = 2**12  # … but no fewer than these
IN_VAIN_CHARACTERS: Final = 2**23  # characters drawn without success, before giving up: long words make each draw expensive too
LEAST_ROWS: Final = 256


class Source:
    """Draws the rows of one model, under one wish.

    how, accepted: the wish, and the automaton of the words that meet it. sign: of the label to draw for, "" for any.

    room: characters that may follow the prefix. in_vain: draws since the last word that met the wish.
    """

    def __init__(self, model: Predictor, how: Sampling, accepted: Automaton, sign: str) -> None:
        self._model, self._accepted, self._cuts = model, accepted, Cuts(how.temperature, how.top_k, how.top_p)
        self._draw = model.drawer(**vars(self._cuts), threads=how.threads)
        self._seed, self._generator = how.seed, np.random.default_rng([how.seed])
        self._drawn_label = bool(model.labels and not sign)
        self._prefix = "" if self._drawn_label else how.prefix
        given = [0] * model.context + model.vocabulary.encode(sign + self._prefix)
        self._start = np.array(given[len(given) - model.context :], np.int32)  # (T,)
        self.room = how.max_length - len(self._prefix) + self._drawn_label
        self._widest = max(1, min(BATCH, NUMBERS // max(self.room + 1, model.vocabulary.size)))
        self._give_up = max(IN_VAIN_LEAST, min(IN_VAIN, IN_VAIN_NUMBERS // model.vocabulary.size))
        self._drawn = self._met = self._asked = self._characters = 0
        self._tree: PrefixTree | None = None
        self._try_tree = True
        self.in_vain = 0

    def more(self, wanted: int) -> Integers | None:
        """Some rows (N, L), about as many as wanted; None if there is no hope of more."""
        while self.in_vain < self._give_up and self._characters < IN_VAIN_CHARACTERS:
            if self._try_tree and self._drawn == FIRST_LOOK and self._met < SELDOM * FIRST_LOOK:
                from lettrine.inference.tree import PrefixTree  # noqa: PLC0415 - as for `condition`

                self._try_tree = False
                self._tree = PrefixTree(self._model, self._draw, self._accepted, self._cuts, self._start, self.room)
            rows = self._whole(wanted) if self._tree is None else self._through(self._tree)
            self._characters = 0 if rows is not None and len(rows) else self._characters
            if rows is None or len(rows):
                return rows
        return None

    def words(self, rows: Integers) -> list[str]:
        """The words of rows (N, L), with their prefix and without the sign of a label."""
        words = self._model.vocabulary.decode_all(rows)
        return without_sign(words) if self._drawn_label else [self._prefix + word for word in words] if self._prefix else words

    def verdict(self) -> str:
        """How rarely the wish is met, if nothing was found."""
        bound = 1.0 if self._tree is None else self._tree.bound
        # No success in n independent trials: the share is below 3 / n with 95 % confidence (the rule of three).
        share = bound * 3 / self.in_vain if bound else 0.0
        return f"less than one in {1 / share:,.0f} of the model's words meets" if share else "no word of the model meets"

    def _whole(self, wanted: int) -> Integers:
        # Uniforms are drawn row by row, so the words do not depend on how many rows are drawn at a time.
        likely = (self._met + 1) / (self._drawn + 1)
        rows = min(self._widest, int(wanted / likely) + 1 if likely < 1 else wanted)
        if self._drawn < FIRST_LOOK:
            rows = min(rows, FIRST_LOOK - self._drawn)
        contexts = np.repeat(self._start[None], rows, axis=0)  # (N, T)
        drawn = _narrowed(draw_on(self._draw, contexts, self.room + 1, self._uniforms))
        met = drawn[self._accepted.run(np.full(rows, self._accepted.start), drawn)]
        self._drawn, self._met = self._drawn + rows, self._met + len(met)
        self.in_vain = 0 if len(met) else self.in_vain + rows
        self._characters += int(np.count_nonzero(drawn)) + rows
        return met

    def _uniforms(self, rows: NDArray[np.int64], start: int, length: int) -> Doubles:
        """The random numbers of the next words' characters from `start` on. Places that few words reach have their own
        generators.
        """
        if not start:
            return self._generator.random((len(rows), length))
        own = [np.random.default_rng([self._seed, self._drawn + row, start]) for row in rows.tolist()]
        return np.stack([each.random(length) for each in own])

    def _through(self, tree: PrefixTree) -> Integers | None:
        if not tree.bound:
            self.in_vain = max(self.in_vain, 1)
            return None
        self._asked = min(2 * self._asked or LEAST_ROWS, self._widest)
        before = tree.characters
        rows = tree.draw(self._asked, self._generator)
        self._characters += tree.characters - before
        self.in_vain = 0 if len(rows) else self.in_vain + self._asked
        if self._asked == TREE_TRIAL and tree.bound > 1 - TREE_WORTH:
            self._tree = None  # as with a least length, which excludes words all over the tree and not at a few prefixes
        return rows


def _narrowed(rows: Integers) -> Integers:
    """The rows (N, L) without trailing columns that hold only ends of words; one of them is kept."""
    used = np.flatnonzero(rows.any(axis=0))
    return rows[:, : int(used[-1]) + 2] if len(used) else rows[:, :1]
