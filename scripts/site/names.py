"""Trainings of the language model on the shipped names: each is sick, and healthy where `cured`.

They return the report themselves. The docstring tells what is wrong.
"""

from __future__ import annotations

from dataclasses import replace

import lettrine
from lettrine.health import Report, examine
from lettrine.text.corpora import FIRST_NAMES, load_corpus


def names_learned_by_heart(cured: bool) -> Report:
    """500 names, a wide network without dropout and weight decay, and the weights of the last step instead of the best ones."""
    shape = lettrine.Shape(hidden=(400,), dropout=None if cured else 0.0)
    optimiser = lettrine.Optimiser(weight_decay=None if cured else 0.0)
    more = {} if cured else {"steps": 6_000, "keep": "last", "patience": 0}
    return _judged(_names(500), shape, lettrine.Settings(optimiser=optimiser, **more))


def names_for_a_moment(cured: bool) -> Report:
    """100 small steps of SGD on 5,000 names; 3,000 of AdamW where cured."""
    sgd = {"steps": 100, "eval_every": 20, "schedule": "constant", "learning_rate": 0.02, "optimiser": lettrine.Optimiser("sgd")}
    return _judged(_names(5_000), lettrine.Shape(hidden=(100,)), lettrine.Settings(prior="none", **({} if cured else sgd)))


def names_four_times(cured: bool) -> Report:
    """300 names, each of them four times in the list, so that held-out names were trained on."""
    return _judged(_names(1_200) if cured else _names(300) * 4, None, None)


def names_of_a_class(cured: bool) -> Report:
    """200 names, of which 20 are held out: their loss is known roughly only. 2,000 where cured."""
    return _judged(_names(2_000 if cured else 200), None, None)


def network_beside_better_counts(cured: bool) -> Report:
    """No training shows this one, since mixing guards against it: the result of a good one, with the losses changed by hand."""
    report = _judged(_names(1_000), None, None)
    if cured:
        return report
    facts = report.trace.facts
    result = {**facts.result, "model": facts.result["simple"] + 0.1}
    return examine(replace(report.trace, facts=replace(facts, result=result)))


def _names(count: int) -> list[str]:
    return list(load_corpus(FIRST_NAMES).words)[:count]


def _judged(words: list[str], shape: lettrine.Shape | None, settings: lettrine.Settings | None) -> Report:
    return lettrine.train(words, shape=shape, settings=settings).judged
