"""A training that a page controls: continued, paused, changed, broken and cured while it runs.

Every change goes through `Trainer.change`, which logs it: the training can be kept as an ordinary run, and resumed or repeated
bit for bit.
"""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from lettrine.errors import ConfigError, LettrineError, quote
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace
from lettrine.live.board import Board
from lettrine.live.faults import FAULTS, cure_of, hidden_scaled
from lettrine.live.form import USUAL, command_of, facts_of, fields_of, recipe_command, shelves, typed_options
from lettrine.live.lessons import lessons_told
from lettrine.live.painter import Moment, Painter
from lettrine.live.plane import Drift, shown
from lettrine.recipes.catalogue import find_recipe
from lettrine.text.corpora import load_corpus
from lettrine.text.words import WordList, from_words
from lettrine.training.option_table import OPTIONS
from lettrine.training.options import choices
from lettrine.training.session import DEFAULT_CORPUS, Session

CHUNK_SECONDS: Final = 0.03  # steps between two checks for requests of the page
IDLE_SECONDS: Final = 0.1
FACTS_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 60.0
LEAST_GAIN: Final = 0.05  # times that of the scheme


class Player:
    """One training after another, each with the settings chosen on the page; the previous one stays visible beside the new one.

    words: to learn. options: by the names of `option_table`, as typed. board: where it is shown. out: folder of kept runs.
    Raises ConfigError for an option outside its range.
    """

    def __init__(self, words: WordList, options: Mapping[str, Any], board: Board, *, out: Path = Path("runs")) -> None:
        self._words, self._out = words, out
        named = " ".join(f"--{name} {shlex.quote(str(options[name]))}" for name in ("corpus", "top") if name in options)
        self._source = named or ("" if words.source == DEFAULT_CORPUS else shlex.quote(words.source))
        self._board, self._asked = board, queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]()
        self._running, self._closed, self._temperature, self._most, self._speed = False, False, 1.0, 1, 0
        self._shown = 0.0
        self._before: Trace | None = None
        self._drift = Drift()
        self._options: dict[str, Any] = {}
        self._session: Session
        wordy = {option.name for option in OPTIONS if option.goes_to == "words"}
        self._begin({name: value for name, value in options.items() if name not in wordy})
        board.put("lessons", lessons_told())
        self._painter = Painter(board, self._told)
        self._thread = threading.Thread(target=self._work, name="lettrine-player", daemon=True)
        self._thread.start()

    def answer(self, what: str, values: Mapping[str, Any]) -> Any:
        """Carry out a request of the page, between two steps. Raises ConfigError if that is impossible."""
        known: dict[str, Callable[..., Any]] = {
            "train": self._train,
            "pause": self._pause,
            "step": self._step,
            "change": self._change,
            "begin": self._begin_again,
            "recipe": self._begin_recipe,
            "gain": self._scale_start,
            "plant": self._plant,
            "apply": self._apply,
            "keep": self._keep,
            "words": self._new_words,
            "temperature": self._warmer,
        }
        if what not in known:
            raise ConfigError(f"the page asked for {quote(what)}, which there is not; expected one of {', '.join(known)}")
        done = Future[Any]()
        self._asked.put((lambda: known[what](**_named(values)), done))
        return done.result(ANSWER_SECONDS)

    def wait(self) -> None:
        """Train until it is closed, or a signal comes."""
        while self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def close(self) -> None:
        """End after the step that is being taken."""
        self._closed = True
        self._thread.join(timeout=10)
        self._painter.close()
        self._session.close()

    def _work(self) -> None:
        while not self._closed:
            if not self._session.trainer.step:
                self._session.trainer.advance(1)  # so that there is something to see
            self._answer_all()
            if self._running:
                self._advance()
            self._show()

    def _answer_all(self) -> None:
        waits = not self._running
        while True:
            try:
                act, done = self._asked.get(timeout=IDLE_SECONDS if waits else 0.0)
            except queue.Empty:
                return
            waits = False
            try:
                done.set_result(act())
            except LettrineError as error:
                done.set_exception(error)
            except TypeError:
                done.set_exception(
                    ConfigError("the page sent values that do not belong to what it asked for; expected those of our own page")
                )
            self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        if now or (self._board.watched and time.perf_counter() - self._shown >= FACTS_SECONDS):
            self._board.put("facts", self._facts())
            self._shown = time.perf_counter()
        self._painter.offer(self._view, now=now)

    def _advance(self) -> None:
        began, trainer = time.perf_counter(), self._session.trainer
        if trainer.ended:
            self._running = False
            return
        self._speed = round(trainer.advance(self._most).steps_per_second)
        took = max(time.perf_counter() - began, 1e-6)
        self._most = max(1, min(2 * self._most, int(self._most * CHUNK_SECONDS / took)))

    def _train(self) -> None:
        if self._session.trainer.ended:
            raise ConfigError("all steps are taken, or the loss stopped being finite; start again")
        self._running = True

    def _pause(self) -> None:
        self._running = False

    def _step(self, steps: int = 1) -> None:
        self._running = False
        self._session.trainer.advance(int(steps))

    def _change(self, **values: Any) -> None:
        self._session.trainer.change(**values)

    def _begin_again(self, **options: Any) -> None:
        self._begin(options)

    def _begin(self, options: dict[str, Any]) -> None:
        typed = typed_options(options)
        chosen = choices({**USUAL, **typed})
        self._take(Session(self._words, shape=chosen.shape, settings=chosen.settings), typed)

    def _begin_recipe(self, name: str = "") -> str:
        recipe = find_recipe(name).on(self._words.digest)
        config = recipe.config(self._session.vocabulary.size)
        self._take(Session(self._words, shape=config, settings=recipe.settings()), {}, name)
        self._running = True
        return recipe.lesson

    def _scale_start(self, times: float = 1.0) -> None:
        """The same start again, with the hidden weights multiplied."""
        if not LEAST_GAIN <= float(times) <= 1 / LEAST_GAIN:
            raise ConfigError(f"gain got {times} times; expected {LEAST_GAIN:g} to {1 / LEAST_GAIN:g}")
        self._begin(self._options)
        self._change(**hidden_scaled(self._session, float(times)))

    def _take(self, session: Session, typed: dict[str, Any], recipe: str = "") -> None:
        """Continue with another training."""
        if hasattr(self, "_session"):
            self._leave_behind()
            self._session.close()
        self._session, self._options, self._recipe, self._most = session, typed, recipe, 1
        self._board.put("chosen", {"fields": fields_of(session, typed), **shelves()})

    def _plant(self, fault: str = "") -> str:
        if fault not in FAULTS:
            raise ConfigError(f"the page asked for the fault {quote(fault)}; expected {', '.join(FAULTS)}")
        planted = FAULTS[fault]
        if planted.options:
            self._begin({**self._options, **planted.options})
        if planted.change is not None:
            self._change(**planted.change(self._session))
        self._running = True
        return planted.says

    def _apply(self, finding: str = "") -> str:
        cure = cure_of(finding, self._session)
        if cure is None:
            raise ConfigError(f"{quote(finding)} has no remedy that a program can apply; follow its words")
        if cure.options:
            self._begin({**self._options, **cure.options})
            self._running = True
        if cure.change is not None:
            self._leave_behind()
            self._change(**cure.change(self._session))
        return cure.says

    def _leave_behind(self) -> None:
        """The present training becomes the previous one in every picture."""
        trainer = self._session.trainer
        if trainer.watch is not None and trainer.step:
            self._before = trainer.watch.trace()
            self._drift.leave_behind()

    def _keep(self, name: str = "") -> str:
        """Repeat the training up to this step in a folder, bit for bit, and keep it as a run."""
        trainer = self._session.trainer
        if not trainer.step:
            raise ConfigError("nothing has been learned yet; train a few steps first")
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "played"
        folder, count = self._out / name, 1
        while folder.exists():
            count += 1
            folder = self._out / f"{name}-{count}"
        with Session(self._words, out=folder, shape=self._session.config, settings=trainer.settings) as again:
            while again.trainer.step < trainer.step and not again.trainer.ended:
                again.trainer.advance(trainer.step - again.trainer.step)
            again.finish()
        return str(folder)

    def _new_words(self, text: str = "", corpus: str = "", name: str = "words.txt") -> None:
        words = load_corpus(corpus) if corpus else from_words(text.splitlines(), source=name)
        before = self._words, self._source
        self._words, self._source = (
            words,
            "" if corpus == DEFAULT_CORPUS else f"--corpus {corpus}" if corpus else shlex.quote(name),
        )
        try:
            self._begin(self._options)
        except LettrineError:
            self._words, self._source = before
            raise

    def _warmer(self, value: float = 1.0) -> None:
        if not 0.0 <= float(value) <= 5.0:
            raise ConfigError(f"temperature got {value}; expected 0 to 5")
        self._temperature = float(value)

    def _told(self, finding: Finding) -> dict[str, Any]:
        cure = cure_of(finding.id, self._session)
        return {"cure": "" if cure is None else cure.says}

    def _facts(self) -> dict[str, Any]:
        told = facts_of(self._session, self._words, self._temperature)
        return told | {"running": self._running, "speed": self._speed, "command": self._command()}

    def _command(self) -> str:
        return recipe_command(self._recipe, self._source) if self._recipe else command_of(self._source, self._options)

    def _view(self) -> Moment:
        """The data to draw; called between two steps."""
        trainer = self._session.trainer
        assert trainer.watch is not None  # noqa: S101  # the page cannot choose otherwise
        own = shown(self._session.model_now(), self._drift, temperature=self._temperature, seed=trainer.step)
        return Moment(trainer.watch.trace(), title="Training", lines=trainer.simple, before=self._before, **own)


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    if any(not name.isidentifier() for name in values):
        raise ConfigError("the page sent a name that is none; expected a word")
    return dict(values)
