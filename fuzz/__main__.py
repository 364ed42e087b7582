"""Fuzz the readers with Atheris: `make fuzz`, or `python -m fuzz TARGET SECONDS` in an environment that has it.

Each target is handed any bytes and feeds them to one reader. A LettrineError is the right answer; any other exception, a hang of
more than 10 seconds or more than MEMORY megabytes is a finding, and the bytes that made it are left in build/fuzz.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

# What the finder of an editable install hands out, Atheris instruments in name only: no coverage, so nothing to be guided by.
# Found by their path the modules are instrumented; the finder, now last, still has the compiled one.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.meta_path.sort(key=lambda finder: "ScikitBuild" in type(finder).__name__)

with atheris.instrument_imports(include=["lettrine"]):
    import lettrine.health.archive
    import lettrine.training.api
    from lettrine.cli.show import UNSAFE, plain
    from lettrine.errors import LettrineError, quote
    from lettrine.report import report_text
    from lettrine.text.vocabulary import Vocabulary
    from lettrine.text.words import read_words
    from lettrine.training.checkpoint import TRAINER
    from lettrine.training.folder import HISTORY, MODEL, RUN
    from lettrine.training.storage import read_arrays

sys.path.append(str(Path(__file__).parents[1] / "tests" / "reliability"))
from strangers import ODD_VALUES, check_message, make_run, places, put, use  # noqa: E402

MEMORY = 1024  # megabytes of the whole process
SECONDS = 60
WORK = Path(tempfile.mkdtemp(prefix="lettrine-fuzz-"))
CORPUS = Path("build") / "fuzz"

_ = report_text, lettrine.health.archive, lettrine.training.api


def allowed(task: Callable[[], object]) -> None:
    """Run it; a LettrineError with a printable message is as good as an answer."""
    try:
        task()
    except LettrineError as error:
        check_message(str(error))


def words(data: bytes) -> None:
    """A word list, as lines and as a table."""
    path = WORK / "words.txt"
    path.write_bytes(data)
    for options in ({}, {"lower": True, "unique": True}, {"column": 1}, {"column": "name"}):
        allowed(lambda options=options: Vocabulary.from_words(read_words(path, **options)))


def arrays(data: bytes) -> None:
    """A safetensors file."""
    path = WORK / "x.safetensors"
    path.write_bytes(data)
    allowed(lambda: read_arrays(path))


def description(data: bytes) -> None:
    """run.json: these very bytes, and the whole one with values changed as these bytes say."""
    folder = run_folder()
    (folder / RUN).write_bytes(data)
    use(folder)
    chosen = atheris.FuzzedDataProvider(data)
    value = WHOLE
    for _ in range(chosen.ConsumeIntInRange(1, 4)):
        known = list(itertools.islice(places(value), 2_000))
        value = put(value, known[chosen.ConsumeIntInRange(0, len(known) - 1)], _odd(chosen))
    (folder / RUN).write_text(json.dumps(value), encoding="utf-8")
    use(folder)
    (folder / RUN).write_text(json.dumps(WHOLE), encoding="utf-8")


def run(data: bytes) -> None:
    """One file of a run with some bytes changed."""
    folder = run_folder()
    chosen = atheris.FuzzedDataProvider(data)
    name = (MODEL, TRAINER, HISTORY, "words.txt")[chosen.ConsumeIntInRange(0, 3)]
    content = bytearray(FILES[name])
    for _ in range(chosen.ConsumeIntInRange(1, 8)):
        at = chosen.ConsumeIntInRange(0, len(content))
        end = at + chosen.ConsumeIntInRange(0, 64)
        content[at:end] = chosen.ConsumeBytes(chosen.ConsumeIntInRange(0, 64))
    (folder / name).write_bytes(bytes(content))
    use(folder)
    (folder / name).write_bytes(FILES[name])


def terminal(data: bytes) -> None:
    """What is made of any text before a terminal sees it."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(4_000)
    if UNSAFE.search(plain(text)) or not quote(text).isprintable() or not str(LettrineError(text)).isprintable():
        raise RuntimeError(f"unsafe: {text!a}")


def _odd(chosen: atheris.FuzzedDataProvider) -> object:
    if chosen.ConsumeBool():
        return ODD_VALUES[chosen.ConsumeIntInRange(0, len(ODD_VALUES) - 1)]
    kinds = (
        chosen.ConsumeFloat,
        lambda: chosen.ConsumeInt(8),
        lambda: chosen.ConsumeUnicode(20),
        lambda: [chosen.ConsumeInt(2)] * 3,
    )
    return kinds[chosen.ConsumeIntInRange(0, 3)]()


def run_folder() -> Path:
    """The whole run, made once."""
    folder = WORK / "run"
    if not folder.exists():
        make_run(folder)
        FILES.update({path.name: path.read_bytes() for path in folder.iterdir()})
        WHOLE.update(json.loads(FILES[RUN]))
    return folder


FILES: dict[str, bytes] = {}
WHOLE: dict[str, object] = {}
SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "words": lambda: [
        b"anna\nbob\n",
        b'name;n\n"a""b";2\n',
        "\ufeffé\r\ne\u0301\r".encode(),
        "a\0".encode("utf-16"),
    ],
    "arrays": lambda: [FILES[name] for name in (MODEL, HISTORY)],
    "description": lambda: [FILES[RUN]],
    "run": lambda: [bytes(range(64))],
    "terminal": lambda: ["\x1b[31m é\u202e 👩\u200d👧".encode()],
}
TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in (words, arrays, description, run, terminal)}


def main() -> None:
    """Fuzz one target for some seconds, with some seed: 0 takes another one every time."""
    target, seconds, seed = [*sys.argv[1:], "", ""][:3]
    warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of absurd figures
    if "__ATHERIS_INSTRUMENTED__" not in read_words.__code__.co_consts:
        raise SystemExit("lettrine is not instrumented: nothing would guide the fuzzer")
    run_folder()
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    for place, content in enumerate(SEEDS[target]()):
        (corpus / f"seed-{place}").write_bytes(content)
    limits = [
        f"-max_total_time={seconds or SECONDS}",
        f"-seed={seed or 0}",
        "-timeout=10",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={corpus}-finding-",
    ]
    atheris.Setup([sys.argv[0], str(corpus), "-max_len=65536", *limits], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
