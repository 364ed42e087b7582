"""`train`: words in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lettrine.cli.pages import MEANINGS, write_page
from lettrine.cli.progress import progress
from lettrine.cli.show import console, note, number, out_json, plain, table

if TYPE_CHECKING:
    from lettrine.health.findings import Report
    from lettrine.training.run import Run

SIGNAL_BASE = 128  # exit code of a process that a signal ended: 128 + its number
RUNS = Path("runs")
SHOWN_WORDS = 10

WORDS, MODEL, TRAINING, RUN = "Words", "Network", "Training", "Run"  # panels of --help


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(epilog="Example: lettrine train names.txt --out my-run, or on the shipped list: lettrine train --hidden 200x5")(
        train
    )


def train(
    words: Annotated[
        str | None, typer.Argument(metavar="WORDS", help="One word a line, UTF-8; - reads standard input. Default: first-names.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="A shipped word list instead, see lettrine corpora.", rich_help_panel=WORDS)
    ] = None,
    top: Annotated[int | None, typer.Option(help="Only the most frequent words of the corpus.", rich_help_panel=WORDS)] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of a CSV or TSV: its name, or its number from 1.", rich_help_panel=WORDS)
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="Lower-case the words.", rich_help_panel=WORDS)] = False,
    unique: Annotated[bool, typer.Option("--unique", help="Drop repeated words.", rich_help_panel=WORDS)] = False,
    context: Annotated[int | None, typer.Option(help="Characters the network sees. Default: 8.", rich_help_panel=MODEL)] = None,
    embedding: Annotated[
        int | None, typer.Option(help="Width of a character's vector. Default: 24.", rich_help_panel=MODEL)
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Hidden widths: 200, 200x5 or 300,100. Default: 200.", rich_help_panel=MODEL)
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(help="tanh, relu, leaky-relu, gelu, sigmoid, selu or identity. Default: gelu.", rich_help_panel=MODEL),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="none or batch. Default: none.", rich_help_panel=MODEL)] = None,
    direct: Annotated[
        bool | None,
        typer.Option("--direct/--no-direct", help="Direct connections from input to output. Default: no.", rich_help_panel=MODEL),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="naive, small-output, small-hidden, tiny, kaiming, deep or calibrated. Default: kaiming.", rich_help_panel=MODEL
        ),
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or sgd. Default: adamw.", rich_help_panel=TRAINING)] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: 0.01 for adamw, 0.1 for sgd.", rich_help_panel=TRAINING)
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, step, cosine or one-cycle. Default: one-cycle.", rich_help_panel=TRAINING)
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd. Default: 0.", rich_help_panel=TRAINING)] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Decay of matrices. Default: by the steps for adamw, 0 for sgd.", rich_help_panel=TRAINING),
    ] = None,
    l2: Annotated[
        str | None,
        typer.Option(
            help="L2 penalty: 1e-4 for all weights, or by group: hidden=1e-4,output=1e-5. Default: none.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Examples in a step. Default: 256.", rich_help_panel=TRAINING)] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps. Default: about seven passes over the words.", rich_help_panel=TRAINING)
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps between development losses. Default: a twentieth of all.", rich_help_panel=TRAINING)
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate", help="Batch norm: statistics of the whole training set at the end.", rich_help_panel=TRAINING
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of initialisation and batches. Default: 0.", rich_help_panel=TRAINING)] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="Of the split into train, dev and test. Default: 42.", rich_help_panel=WORDS)
    ] = None,
    fractions: Annotated[
        str | None, typer.Option(help="Shares of train and dev; the rest is test. Default: 0.8,0.1.", rich_help_panel=WORDS)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads. Default: 1.", rich_help_panel=TRAINING)] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, reference or native. Default: auto.", rich_help_panel=TRAINING)
    ] = None,
    health: Annotated[
        bool | None,
        typer.Option(
            "--health/--no-health",
            help="Watch the network and say what is wrong with it. Default: yes.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: runs/NAME.", rich_help_panel=RUN)] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.", rich_help_panel=RUN)
    ] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Take network and training from another run.", rich_help_panel=RUN)
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html into the run folder.", rich_help_panel=RUN)
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=RUN)] = False,
) -> None:
    """Train a network on a word list and keep it in a run folder."""
    given = {key: value for key, value in locals().items() if key not in ("json", "out", "resume", "like", "report")}
    options = {key: value for key, value in given.items() if value is not None and not (key in ("lower", "unique") and not value)}
    from lettrine.errors import ConfigError  # noqa: PLC0415 - --help answers without numpy
    from lettrine.training import api  # noqa: PLC0415
    from lettrine.training.options import choices, word_list_of  # noqa: PLC0415

    if resume is not None:
        if options or out is not None or like is not None:
            other = next(iter(options), "out" if out is not None else "like")
            raise ConfigError(
                f"--resume goes on as the run began; leave out {other.replace('_', '-')}, or start anew with --like {resume}"
            )
        with progress(quiet=json) as listener:
            run = api.resume(resume, report=listener)
    else:
        chosen = choices(options, like)
        word_list = word_list_of(options)
        folder = out or _free_folder(word_list.source)
        with progress(quiet=json) as listener:
            run = api.train(word_list, out=folder, shape=chosen.shape, settings=chosen.settings, report=listener)
    page = write_page(run) if report else None
    _print(run, json=json)
    if page is None and report and not json and run.health is not None:
        note("for a page with pictures: pip install 'lettrine[report]'")
    if run.signal:
        raise typer.Exit(SIGNAL_BASE + run.signal)


def _free_folder(source: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on where that is taken."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(source).stem).strip("-") or "run"
    folder, count = RUNS / name, 1
    while folder.exists():
        count += 1
        folder = RUNS / f"{name}-{count}"
    return folder


def _print(run: Run, *, json: bool) -> None:
    results = run.results
    if results is None:
        return
    if run.status == "interrupted":
        note(f"stopped at step {results.steps:,}; go on with: lettrine train --resume {run.path}")
    if json:
        out_json(run.summary())
        return
    if run.settings.engine == "auto" and run.model.engine.name == "reference":
        note("trained on the reference engine; where pip finds a C++ compiler it builds one that is several times faster")
    out = console()
    config, examples = run.model.config, run.data.examples
    out.print(
        f"{run.data.words:,} words, {config.vocabulary_size - 1} characters, {examples['train']:,} training examples, "
        f"{config.parameter_count():,} parameters"
    )
    shown = table("loss in nats", "")
    for name, meaning in MEANINGS.items():
        exact = f": ln {config.vocabulary_size}" if name == "expected_initial" else ""
        shown.add_row(number(results.loss[name]), meaning + exact)
    out.print(shown)
    pace = f"{results.steps_per_second:,.0f} a second, " if results.steps else ""
    speed = f"{pace}{run.model.engine.name} engine"
    out.print(f"{results.steps:,} steps in {results.seconds:.1f} s ({speed})\n")
    out.print("new words: " + " ".join(plain(word) for word in run.sample(SHOWN_WORDS, new=True, unique=True)), markup=False)
    if run.health is not None:
        out.print()
        _print_findings(run.health, plain(str(run.path)))
    out.print(f"\nkept in {plain(str(run.path))}. More words: lettrine sample {plain(str(run.path))}", markup=False)


def _print_findings(report: Report, run: str) -> None:
    """The verdict in one line, then a line for each finding; `lettrine health` has the rest."""
    from lettrine.report.summary import verdict  # noqa: PLC0415
    from lettrine.report.terminal import line  # noqa: PLC0415

    out = console()
    out.print(f"health: {verdict(report).headline} (lettrine health {run})", markup=False)
    for finding in report.findings:
        out.print(f"  {line(finding)}", markup=False)
