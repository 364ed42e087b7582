"""Networks and counts mixed in logits: against the formula, at the edges, and that the fitted weights are the best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lettrine.engine.choice import choose_engine
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.mixture import ALONE, EVEN, KINDS_EVEN, Mixture, Prior, fitted
from lettrine.model.config import MLPConfig
from lettrine.model.counting import count
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.model.kinds import counted_kinds
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows

WORDS = ["anna", "nana", "banana", "ananas", "ban", "bananas", "sanna", "nans"] * 3
VOCABULARY = Vocabulary.from_words(WORDS)
EXAMPLES = windows(WORDS, VOCABULARY, 4)
CONFIG = MLPConfig(VOCABULARY.size, context=4, embedding=3, hidden=(5,))
NETWORKS = [initialise(CONFIG, SCHEMES["kaiming"], np.random.default_rng(seed)) for seed in (0, 1)]
COUNTS = count(EXAMPLES.targets, EXAMPLES.targets, VOCABULARY.size, 3)
ENGINE = choose_engine("reference")


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def expected(a: float, b: float, networks: int) -> np.ndarray:
    """Log-probabilities of the mixture, written from the formula."""
    each = [log_softmax(ENGINE.logits(CONFIG, one, EXAMPLES.contexts).astype(np.float64)) for one in NETWORKS[:networks]]
    return log_softmax(a * np.mean(each, axis=0) + b * np.log(COUNTS.probabilities(EXAMPLES.contexts)))


@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize(("a", "b"), [(0.4, 0.7), (1.0, 0.0), (0.0, 1.0)])
def test_the_loss_is_that_of_the_weighted_logits(networks: int, a: float, b: float) -> None:
    mixture = Mixture(ENGINE, Prior(COUNTS, (a, b)), tuple(NETWORKS[1:networks]))
    losses = mixture.negative_log_likelihood(CONFIG, NETWORKS[0], EXAMPLES.contexts, EXAMPLES.targets)
    wanted = -expected(a, b, networks)[np.arange(len(EXAMPLES)), EXAMPLES.targets]
    np.testing.assert_allclose(losses, wanted, rtol=1e-6)


def test_without_counts_and_others_the_engine_answers_bit_for_bit() -> None:
    ours = Mixture(ENGINE).negative_log_likelihood(CONFIG, NETWORKS[0], EXAMPLES.contexts, EXAMPLES.targets)
    theirs = ENGINE.negative_log_likelihood(CONFIG, NETWORKS[0], EXAMPLES.contexts, EXAMPLES.targets)
    assert (ours == theirs).all()
    uniforms = np.random.default_rng(0).random((6, 5))
    start = np.zeros((6, 4), np.int32)
    drawn = Mixture(ENGINE).sample(CONFIG, NETWORKS[0], start, uniforms)
    assert (drawn == ENGINE.sample(CONFIG, NETWORKS[0], start, uniforms)).all()


def test_words_are_drawn_from_the_distribution_the_loss_is_of() -> None:
    mixture = Mixture(ENGINE, Prior(COUNTS, (0.4, 0.7)), (NETWORKS[1],))
    drawn = mixture.sample(CONFIG, NETWORKS[0], np.zeros((20_000, 4), np.int32), np.random.default_rng(5).random((20_000, 2)))
    first = np.exp(log_softmax(mixture.logits(CONFIG, NETWORKS[0], np.zeros((1, 4), np.int32)))[0])
    observed = np.bincount(drawn[:, 0], minlength=VOCABULARY.size)
    chi_square = ((observed - 20_000 * first) ** 2 / (20_000 * first)).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: 1 in 1,000
    assert (drawn[drawn[:, 0] == 0, 1] == 0).all()


def test_no_weights_near_by_are_better_than_the_fitted_ones() -> None:
    mixture = Mixture(ENGINE, Prior(COUNTS))
    best = fitted(mixture, CONFIG, NETWORKS[0], EXAMPLES.contexts, EXAMPLES.targets).weights

    def cost(a: float, b: float) -> float:
        loss = -expected(a, b, 1)[np.arange(len(EXAMPLES)), EXAMPLES.targets].sum()
        return loss + 15.0 * ((a - EVEN[0]) ** 2 + (b - EVEN[1]) ** 2)  # half of PULL

    assert all(cost(*best) <= cost(best[0] + da, best[1] + db) for da in (-0.02, 0, 0.02) for db in (-0.02, 0, 0.02))
    assert best != EVEN


def test_counts_are_left_alone_where_a_network_does_harm() -> None:
    harmful = {name: value.copy() for name, value in NETWORKS[0].items()}
    harmful["output.bias"] = np.float32([1.0] + [-1.0] * (VOCABULARY.size - 1))  # it ends words too early
    few = EXAMPLES.contexts[1:40], EXAMPLES.targets[1:40]
    assert fitted(Mixture(ENGINE, Prior(COUNTS)), CONFIG, harmful, *few).weights == ALONE
    assert fitted(Mixture(ENGINE, Prior(COUNTS)), CONFIG, NETWORKS[0], *few).weights != ALONE


def test_a_network_that_has_gone_to_infinity_leaves_the_weights_even() -> None:
    spoilt = {name: np.full_like(value, np.inf) for name, value in NETWORKS[0].items()}
    with np.errstate(all="ignore"):
        assert fitted(Mixture(ENGINE, Prior(COUNTS)), CONFIG, spoilt, EXAMPLES.contexts, EXAMPLES.targets).weights == EVEN


def test_kinds_of_characters_are_a_third_factor_with_a_weight_of_its_own() -> None:
    names = [word.capitalize() for word in WORDS]
    vocabulary = Vocabulary.from_words(names)
    examples = windows(names, vocabulary, 4)
    config = MLPConfig(vocabulary.size, context=4, embedding=3, hidden=(5,))
    network = initialise(config, SCHEMES["kaiming"], np.random.default_rng(0))
    prior = Prior(count(examples.targets, examples.targets, vocabulary.size, 3), (0.4, 0.7))
    kinds = counted_kinds(vocabulary.characters, examples.contexts, examples.targets)
    both = Mixture(ENGINE, replace(prior, kinds=replace(kinds, weight=0.6)))
    wanted = log_softmax(
        Mixture(ENGINE, prior).logits(config, network, examples.contexts) + 0.6 * kinds.logits(examples.contexts)
    )
    rows = np.arange(len(examples))
    losses = both.negative_log_likelihood(config, network, examples.contexts, examples.targets)
    np.testing.assert_allclose(losses, -wanted[rows, examples.targets], rtol=1e-6)
    uniforms = np.random.default_rng(3).random((5_000, 3))
    drawn = both.sample(config, network, np.zeros((5_000, 4), np.int32), uniforms)
    first = np.exp(log_softmax(both.logits(config, network, np.zeros((1, 4), np.int32)))[0])
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=vocabulary.size) / 5_000, first, atol=0.03)

    best = fitted(Mixture(ENGINE, replace(prior, kinds=kinds)), config, network, examples.contexts, examples.targets)

    def cost(a: float, b: float, c: float) -> float:
        mixture = Mixture(ENGINE, Prior(prior.counts, (a, b), replace(kinds, weight=c)))
        loss = mixture.negative_log_likelihood(config, network, examples.contexts, examples.targets).sum()
        return loss + 15.0 * ((a - EVEN[0]) ** 2 + (b - EVEN[1]) ** 2 + (c - KINDS_EVEN) ** 2)

    at = (*best.weights, best.kinds.weight)
    steps = [(da, db, dc) for da in (-0.02, 0, 0.02) for db in (-0.02, 0, 0.02) for dc in (-0.02, 0, 0.02)]
    assert all(cost(*at) <= cost(*np.add(at, step)) for step in steps)


def test_a_model_of_counts_alone_needs_no_network() -> None:
    model = LanguageModel(CONFIG, VOCABULARY, {}, ENGINE, prior=Prior(COUNTS, (0.0, 1.0)))
    exact = -np.log(COUNTS.probability(EXAMPLES.contexts, EXAMPLES.targets)).mean()
    assert model.evaluate(WORDS).nats == pytest.approx(exact)
    assert len(model.sample(20, seed=3)) == 20
    assert model.score(["anna"])[0].log_likelihood < 0
