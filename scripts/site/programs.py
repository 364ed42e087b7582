"""Which program shows a check or an experiment at work, sick and healthy, and what came of running it.

    python -m scripts.site saturation leak     # run these programs anew
    python -m scripts.site                     # all of them, some minutes

What a program gave is kept in scripts/site/shown, since running all of them takes longer than building the site. A program whose
check does not speak up, or speaks up on its cure, is refused.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = Path(__file__).parent / "shown"

# For each check the program that shows it: of benchmarks/wild where one does, else of this folder.
CHECKS: Final[dict[str, str]] = {
    "majority-class": "one_in_twenty",
    "saturation": "tanh_fed_with_too_much",
    "dead-units": "biases_far_below_zero",
    "norm-gain": "every_parameter_drawn_small",
    "activation-scale": "weights_too_large_in_every_layer",
    "unregistered": "layers_in_a_dictionary",
    "detached-generator": "critic_sees_a_detached_fake",
    "frozen-random": "frozen_without_pretraining",
    "gradients-cleared": "cleared_after_backward",
    "growing-graph": "running_mean_of_losses",
    "input-scale": "wine_as_measured",
    "repeated-batch": "workers_with_one_seed",
    "sorted-data": "loader_without_shuffle",
    "shuffled-targets": "labels_of_other_pictures",
    "padding-index": "token_0_kept_for_padding",
    "divergence": "maximised_after_a_while",
    "spike": "one_broken_batch",
    "gradient-scale": "sigmoids_nine_deep",
    "gradient-data": "one_layer_drawn_too_large",
    "no-gradient": "encoder_under_no_grad",
    "not-optimised": "optimiser_of_the_original",
    "never-moved": "rate_of_zero_for_the_body",
    "symmetry": "all_weights_alike",
    "other-loss": "last_term_logged_as_total",
    "wrong-direction": "the_overlap_itself_is_made_small",
    "averaged-first": "weights_after_the_mean",
    "mixed-derivatives": "heat_by_the_whole_gradient",
    "policy-loss": "a_critic_pushed_by_the_policys_loss",
    "value-target": "ends_the_wrong_way_round",
    "same-side": "generator_told_it_is_false",
    "broadcast": "forecast_of_one_step",
    "softmax-axis": "softmax_over_the_batch",
    "relu-logits": "relu_on_the_logits",
    "probabilities-as-logits": "sigmoid_before_logits_loss",
    "held-out-labels": "folders_in_another_order",
    "overfitting": "names_learned_by_heart",
    "stale-evaluation": "copy_from_before_the_training",
    "dev-scale": "held_out_loss_added_up",
    "leak": "label_among_the_columns",
    "future-leak": "decoder_without_mask",
    "initial-loss": "head_drawn_too_large",
    "no-learning": "letters_after_other_words",
    "slow-learning": "stopped_too_soon",
    "eval-dropout": "swin_dropout_in_eval",
    "shared-norm": "one_norm_for_all_steps",
    "raw-contrast": "contrast_of_features_as_they_are",
    "padding-mask": "only_padding_attended_to",
    "padding-counted": "places_of_padding_counted_as_tags",
    "batch-mixing": "film_read_across_the_batch",
    "non-finite": "root_of_nothing",
    "schedule-to-zero": "rate_that_decays_every_batch",
    "weight-decay": "decay_of_adamw_given_to_adam",
    "clip-before-unscale": "clipping_of_scaled_gradients",
    "eps-underflow": "reward_model_in_half",
    "optimiser-state-lost": "adam_begun_anew",
    "no-warmup": "deep_post_norm_at_full_rate",
    "collapsed-kl": "world_model_without_a_code",
    "oscillation": "low_and_high_digits_in_turn",
    "worse-than-counting": "network_beside_better_counts",
    "memorising": "names_learned_by_heart",
    "underfitting": "names_for_a_moment",
    "repeated-words": "names_four_times",
    "noisy-judgement": "names_of_a_class",
    "target-range": "tanh_for_eight_hundred",
    "target-constant": "labels_of_one_folder",
    "target-rows": "genres_by_softmax",
    "target-scale": "prices_in_dollars",
    "update-too-large": "adam_with_the_rate_of_sgd",
    "update-too-small": "rate_of_a_fine_tuning",
    "missing-zero-grad": "student_never_cleared",
    "wrong-mode": "validation_leaves_eval",
    "bias-before-norm": "bias_in_front_of_batch_norm",
    "norm-statistics": "statistics_that_never_move",
    "gradients-not-synchronised": "converted_after_it_was_wrapped",
    "replicas-apart": "rate_of_each_rank",
    "same-data": "loader_without_distributed_sampler",
    "ranks-unlike": "rank_0_left_in_eval_mode",
}

# For each experiment a case of benchmarks/checkup/sick.py.
EXPERIMENTS: Final[dict[str, str]] = {
    "first-loss": "outputs (N, 1), targets (N,)",
    "parameters": "features detached on the way",
    "independence": "softmax over the batch",
    "causality": "decoder, causal mask none",
    "padding": "padding mask inverted",
    "alone": "sum over places divided by the length of the longest",
    "randomness": "dropout called without training",
    "optimiser": "Adam's eps in half precision",
    "step": "gradients clipped before they are unscaled",
    "data": "workers that draw the same",
    "answer": "a column that is the label",
    "save-load": "a layer's weight kept as a plain tensor, trained by hand",
    "inputs": "one of two inputs forgotten",
    "blanking": "first state of a recurrent net where the last is meant",
    "norm-statistics": "running statistics that never move",
    "shared-norm": "one batch norm in three places",
    "one-batch": "",
    "precision": "a difference of large numbers",
    "frozen": "fresh layers frozen",
    "scales": "pixels from 0 to 255",
    "decay": "weight decay stronger than the gradient",
    "start": "",
    "head": "softmax before cross-entropy",
    "last-state": "last state of a recurrent net, behind the padding",
    "padded-targets": "padding among the tags",
    "initialisation": "weights so small that signals die out",
    "learning-rate": "a rate far too high",
    "targets": "targets in another order than inputs",
}

# Experiments that go by what others have measured before.
BEFORE: Final = {"start": ("first-loss",), "targets": ("first-loss", "one-batch")}

PICTURES: Final[dict[str, tuple[str, ...]]] = {
    "saturation": ("activations", "saturation-first"),
    "dead-units": ("dead-units", "saturation-last"),
    "activation-scale": ("output-scale", "activations"),
    "gradient-scale": ("gradient-scale", "gradients"),
    "gradient-data": ("gradient-data",),
    "no-gradient": ("gradient-scale", "loss"),
    "symmetry": ("saturation-last", "loss"),
    "update-too-large": ("update-data", "loss"),
    "update-too-small": ("update-data", "loss"),
    "never-moved": ("update-data", "loss"),
    "input-scale": ("preactivations", "loss"),
    "weight-decay": ("output-scale", "loss"),
    "norm-statistics": ("norm-mean", "norm-variance"),
    "shared-norm": ("norm-mean", "norm-variance"),
    "initial-loss": ("loss", "preactivations"),
}
"""Of the charts of a report, those that show what a check looks at; the loss where nothing else does."""


@dataclass(frozen=True)
class Told:
    """What came of one program. finding: that of the check, empty if there is none. others: ids of other findings.

    pictures: SVG by name, with title. figures: what the experiment measured. said: the same in a sentence.
    """

    verdict: str
    finding: dict[str, Any]
    others: tuple[str, ...]
    pictures: dict[str, tuple[str, str]]
    figures: dict[str, float]
    said: str = ""


@dataclass(frozen=True)
class Shown:
    """A program, sick and cured. title: its name in words. code: its text. source: the public report it was made after."""

    title: str
    words: str
    code: str
    source: str
    sick: Told
    healthy: Told


def shown(kind: str, name: str) -> Shown:
    """What the program of a check ("check") or an experiment ("experiment") gave. Raises RuntimeError where it was never run."""
    path = KEPT / f"{kind}-{name}.json"
    if not path.exists():
        raise RuntimeError(f"nothing is kept of {kind} {name}; run python -m scripts.site {name}")
    values = json.loads(path.read_text(encoding="utf-8"))
    sick, healthy = (Told(**values.pop(side)) for side in ("sick", "healthy"))
    return Shown(**values, sick=sick, healthy=healthy)


def keep(kind: str, name: str) -> Shown:
    """Run a program and keep what it gave."""
    import torch  # noqa: PLC0415  where nothing is run it is not needed

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch itself warns of some of these mistakes
    made = show_check(name) if kind == "check" else show_experiment(name)
    complain(name, made)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{kind}-{name}.json").write_text(json.dumps(asdict(made), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


def known_programs() -> set[str]:
    """Names of all programs there are for checks."""
    from benchmarks.wild.case import load  # noqa: PLC0415

    return set(load()) | set(_of_this_folder())


def _of_this_folder() -> dict[str, Callable[..., Any]]:
    """The programs that were written for the site."""
    from scripts.site import evaluating, names, ranks, small, wrong_losses  # noqa: PLC0415

    functions = [
        each
        for module in (small, evaluating, wrong_losses, names, ranks)
        for each in vars(module).values()
        if inspect.isfunction(each)
    ]
    return {each.__name__: each for each in functions if "cured" in signature(each)}


def complain(name: str, made: Shown) -> None:
    """Raises RuntimeError unless the sick program is named and the cured one is not."""
    if not made.sick.finding:
        raise RuntimeError(f"{name}: {made.title} gives {made.sick.verdict}, with {made.sick.others}, instead of a finding")
    if made.healthy.finding or made.healthy.verdict in ("not healthy", "not judged"):
        raise RuntimeError(f"{name}: the cure of {made.title} is {made.healthy.verdict}: {made.healthy}")


def show_check(check: str) -> Shown:
    """Train the program of a check, sick and cured, while lettrine watches."""
    from benchmarks.wild.case import load  # noqa: PLC0415

    name, own = CHECKS[check], _of_this_folder()
    if name in own:
        program, source = own[name], ""
        runs = [_report_of(program, cured=cured) for cured in (False, True)]
    else:
        cases = load()
        case = cases[name]
        source = f"{case.project}: {case.source}" if case.project else case.source
        program = getattr(case.program, "func", case.program)
        runs = [_watched(case.program), _watched(cases[f"{name}_cured"].program)]
    sick, healthy = (_told(check, report) for report in runs)
    return Shown(name.replace("_", " "), _docstring(program), _code(program), source, sick, healthy)


def _report_of(program: Callable[..., Any], *, cured: bool) -> Any:
    if "doctor" not in signature(program):
        return program(cured)
    return _watched(lambda doctor, seed: program(doctor, seed, cured))


def _watched(program: Callable[..., Any]) -> Any:
    import torch  # noqa: PLC0415
    from benchmarks.wild.doctor import Doctor  # noqa: PLC0415

    class Keeper(Doctor):
        """Keeps the report as it is."""

        def _keep(self, report: Any) -> None:
            self.report = report

    doctor = Keeper("watch")
    torch.manual_seed(0)
    program(doctor, 0)
    return doctor.report


def _told(check: str, report: Any) -> Told:
    from lettrine.report.figure import to_themed_svg  # noqa: PLC0415

    found = next((each for each in report.findings if each.id == check), None)
    others = tuple(each.id for each in report.findings if each.id != check)
    drawn = report.charts()
    names = [name for name in PICTURES.get(check, ("loss",)) if name in drawn] or [name for name in ("loss",) if name in drawn]
    side = "sick" if found else "healthy"
    pictures = {name: (drawn[name].title, light(to_themed_svg(drawn[name].chart, f"{side}-{name}"))) for name in names}
    return Told(report.verdict, found.to_dict() if found else {}, others, pictures, {})


def show_experiment(experiment: str) -> Shown:
    """Run one experiment on the case that shows it, sick and cured."""
    import torch  # noqa: PLC0415
    from benchmarks.checkup.sick import CASES  # noqa: PLC0415
    from scripts.site import tasks  # noqa: PLC0415
    from scripts.site.facts import facts  # noqa: PLC0415

    from lettrine import health  # noqa: PLC0415
    from lettrine.health.evidence import EXPERIMENT  # noqa: PLC0415
    from lettrine.torch.checkup.experiment import EXPERIMENTS as EXPERIMENTS_KNOWN  # noqa: PLC0415

    name, kinds = EXPERIMENTS[experiment], facts(EXPERIMENTS_KNOWN[experiment].function).findings
    case = next((each for each in CASES if each.name == name), None)
    build = case.build if case else getattr(tasks, experiment.replace("-", "_"))
    tolds = []
    for cured in (False, True):
        torch.manual_seed(1)
        report = health.checkup(*build(cured), only=[*BEFORE.get(experiment, ()), experiment], progress=False, minutes=3)
        outcome = next(each for each in report.outcomes if each.check == experiment)
        found = next((each for each in report.findings if outcome.status == "found" and each.id in kinds), None)
        seen = next((each for each in report.trace.evidence if each.kind == EXPERIMENT + experiment), None)
        figures = {key: value for key, value in (seen.figures if seen else {}).items() if key != "seconds"}
        said = seen.words["said"] if seen else outcome.reason
        verdict = "not healthy" if found else "healthy" if outcome.status == "passed" else outcome.status
        tolds.append(Told(verdict, found.to_dict() if found else {}, (), {}, figures, said))
    return Shown(name or _docstring(build).rstrip("."), _docstring(build), _code(build), "", *tolds)


def signature(program: Callable[..., Any]) -> Iterable[str]:
    """Names of what it takes."""
    return inspect.signature(program).parameters


def light(svg: str) -> str:
    """A picture of a quarter of the size: without hints, fonts (the style sheet has them), and hundredths of a pixel."""
    svg = re.sub(r'<circle data-tip="[^"]*"[^>]*/>', "", svg)
    svg = re.sub(r'<path [^>]*d="(M0,0h0v0h0Z)?"[^>]*/>', "", svg)
    svg = re.sub(r' (aria-hidden|font-family|opacity)="(true|1|[^"]*serif)"', "", svg)
    svg = re.sub(r'(?<!svg) class="[^"]*"(?! viewBox)', "", svg)

    def rounded(tag: re.Match[str]) -> str:
        return re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", tag[0])

    return re.sub(r"<[^>]*>", rounded, svg)  # numbers between tags are read by people


def _code(program: Callable[..., Any]) -> str:
    """Its text, without what it was registered by."""
    lines = textwrap.dedent(inspect.getsource(program)).splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("def "))
    return "\n".join(lines[first:])


def _docstring(program: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(program) or "").split())
