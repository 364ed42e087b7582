"""Which layers are of one kind."""

from __future__ import annotations

from itertools import product

import pytest

from lettrine.report.kinds import Kind, few, kinds


def found(names: list[str], cls: str = "Linear") -> dict[str, int]:
    """Kinds of these names, and how many each has."""
    return {kind.name: len(kind.members) for kind in kinds(dict.fromkeys(names, cls))}


def test_blocks_of_a_transformer() -> None:
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc")
    names = ["wte", *[f"h.{i}.{part}" for i in range(12) for part in parts], *[f"h.{i}" for i in range(12)], "lm_head"]
    assert found(names) == {"h.*.attn.c_attn": 12, "h.*.attn.c_proj": 12, "h.*.mlp.c_fc": 12, "h.*": 12}
    one = kinds(dict.fromkeys(names, "Linear"))[0]
    assert one == Kind("h.*.attn.c_attn", "Linear", tuple(f"h.{i}.attn.c_attn" for i in range(12)), tuple(range(12)))


def test_stages_of_blocks_count_on_and_what_only_some_blocks_have_stands_at_its_block() -> None:
    names = [f"layer{s}.{b}.conv{c}" for s, n in enumerate((3, 4, 6, 3), 1) for b in range(n) for c in (1, 2)]
    names += [f"layer{s}.0.downsample.0" for s in range(1, 5)]
    assert found(["conv1", *names, "fc"]) == {"layer*.*.conv1": 16, "layer*.*.conv2": 16, "layer*.0.downsample.0": 4}
    last = kinds(dict.fromkeys(names, "Conv2d"))[-1]
    assert last.blocks == (0, 3, 7, 13)


@pytest.mark.parametrize(
    "names",
    [
        [f"layers.{i}" for i in range(30)],  # a plain stack
        [f"fc{i}" for i in range(1, 9)],
        [f"fc{i}.input" for i in range(1, 9)],  # activations called as functions between them
        [f"blocks.{i}.fc" for i in range(3)],  # too few
        [f"h.{i}.*.fc" for i in range(9)],
        [],
    ],
)
def test_what_is_no_block(names: list[str]) -> None:
    assert found([*names, *(name.removesuffix(".input") for name in names if name.endswith(".input"))]) == {}


def test_layers_of_another_class_are_of_another_kind() -> None:
    named = {f"h.{i}.act": "GELU" if i < 5 else "ReLU" for i in range(10)}
    assert [(kind.name, kind.cls, len(kind.members)) for kind in kinds(named)] == [("h.*.act", "GELU", 5), ("h.*.act", "ReLU", 5)]


def test_numbers_of_places_in_a_block_are_kept() -> None:
    names = [f"features.{i}.conv.{k}.0" for i, k in product(range(6), range(2))]
    assert found(names) == {"features.*.conv.0.0": 6, "features.*.conv.1.0": 6}


def test_experts_of_all_layers_are_one_kind() -> None:
    names = [f"layers.{i}.experts.{k}.w1" for i, k in product(range(5), range(8))]
    assert found(names) == {"layers.*.experts.*.w1": 40}
    assert kinds(dict.fromkeys(names, "Linear"))[0].blocks == tuple(range(40))


def grouped(names: list[str], others: tuple[str, ...] = ()) -> list[list[str]]:
    """Names by what they share; `others` are of another class."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, key in few({name: "Conv2d" if name in others else "Linear" for name in names}).items():
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def test_layers_of_one_kind_where_few_blocks_repeat() -> None:
    blocks = [f"blocks.{i}.{part}" for i in range(2) for part in ("attn", "mlp.0", "mlp.2")]
    pairs = [[f"blocks.{i}.{part}" for i in range(2)] for part in ("attn", "mlp.0", "mlp.2")]
    assert grouped(["embed", *blocks, "head"]) == [["embed"], *pairs, ["head"]]
    assert grouped(["0", "2", "4"]) == [["0", "2", "4"]], "a plain stack"
    assert grouped(["net.0.0", "net.0.2", "net.1"]) == [["net.0.0", "net.0.2"], ["net.1"]], "a stack in a stack"
    assert grouped(["conv1", "conv2", "fc1", "fc2"], ("conv1", "conv2")) == [["conv1", "conv2"], ["fc1", "fc2"]]
    assert grouped(["features.0", "features.3", "features.6"], ("features.3",)) == [["features.0", "features.6"], ["features.3"]]
