"""Words and examples on disk are those in memory."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path

import numpy as np
import pytest

from lettrine.errors import StorageError, VocabularyError
from lettrine.text import files, stored
from lettrine.text import words as words_module
from lettrine.text.stored import NumberWriter, StoredWords, portions
from lettrine.text.stored_windows import StoredWindows, examples_of
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import WordList, read_words, split

WORDS = [" anna ", "bob", "", "zoë", "bob", "日本", "a-b", "x", "🦊y", "élan"] * 7 + ["ananas"]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WordList, WordList]:
    """A file read into memory, and the same read to disk, three words at a time."""
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS), encoding="utf-8")
    memory = read_words(path, lower=True)
    monkeypatch.setattr(words_module, "BIG", 1)
    monkeypatch.setattr(stored, "PORTION", 3)
    monkeypatch.setattr("lettrine.text.stored_windows.PORTION", 3)
    return memory, read_words(path, lower=True)


def test_the_words_are_the_same(both: tuple[WordList, WordList]) -> None:
    memory, disk = both
    assert isinstance(disk.words, StoredWords)
    assert not isinstance(memory.words, StoredWords)
    assert tuple(disk) == memory.words
    assert (disk.digest, disk.blank, disk.repeated, disk.notes) == (memory.digest, memory.blank, memory.repeated, memory.notes)
    assert [tuple(some) for some in portions(disk.words)] == [tuple(some) for some in portions(memory.words)]
    for index in (0, 5, -1, slice(2, 9), slice(None), slice(60, 99), slice(5, 5), slice(1, 20, 4), slice(None, None, -1)):
        assert (list if isinstance(index, slice) else str)(disk[index]) == (list if isinstance(index, slice) else str)(
            memory[index]
        )
    with pytest.raises(IndexError):
        disk[len(memory)]


def test_the_split_is_the_same_and_knows_its_words(both: tuple[WordList, WordList]) -> None:
    memory, disk = (split(each.words, seed=3) for each in both)
    assert [list(part) for part in disk] == [list(part) for part in memory]
    assert isinstance(disk.train, StoredWords)
    asked = ["bob", "zoë", "nobody", "ananas", "bo"]
    assert disk.train.holds(asked).tolist() == [word in memory.train for word in asked]
    assert "nobody" not in disk.train
    assert 5 not in disk.train


@pytest.mark.parametrize("context", [1, 3, 9])
def test_the_examples_are_the_same(both: tuple[WordList, WordList], context: int) -> None:
    memory, disk = (split(each.words).train for each in both)
    vocabulary = Vocabulary.from_words(both[0].words)
    assert Vocabulary.from_words(both[1].words) == vocabulary
    there, here = examples_of(disk, vocabulary, context), windows(memory, vocabulary, context)
    assert isinstance(there, StoredWindows)
    assert len(there) == len(here)
    rows = np.random.default_rng(0).integers(0, len(here), (11, 7))
    contexts, targets, places = there.batch(rows)
    assert contexts.dtype == here.contexts.dtype
    np.testing.assert_array_equal(contexts[places], here.contexts[rows])
    np.testing.assert_array_equal(targets[places], here.targets[rows])
    for most in (1, 20, len(here), 10**6):
        some, same = there.head(most), here.head(most)
        np.testing.assert_array_equal(some.contexts, same.contexts)
        np.testing.assert_array_equal(some.targets, same.targets)
        assert some.targets[-1] == 0


def test_a_character_that_is_unknown_is_told(both: tuple[WordList, WordList]) -> None:
    with pytest.raises(VocabularyError, match="'日'"):
        examples_of(both[1].words, Vocabulary.from_words(["-abelnoxyzéë🦊"]), 3)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with pytest.raises(StorageError, match="No space left on device; free some space there, or let TMPDIR"):
        NumberWriter(np.uint8).add(np.zeros(3, np.uint8))


def test_a_thread_reads_the_next_block_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, readers = tmp_path / "words.txt", []
    path.write_text("\n".join(WORDS * 20), encoding="utf-8")
    whole = "".join(text for _, text in files.read_blocks(path))
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)

    class Noted(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            readers.append(threading.current_thread() is threading.main_thread())
            return super().read(size) or b""

    monkeypatch.setattr(Path, "open", lambda self, _: Noted(self))
    assert "".join(text for _, text in files.read_blocks(path)) == whole
    assert readers[0]
    assert len(readers) > 2
    assert not any(readers[1:])
