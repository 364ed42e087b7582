"""Which recipes and which words were meant."""

from __future__ import annotations

from collections.abc import Sequence

from lettrine.errors import ConfigError, quote
from lettrine.recipes.catalogue import RECIPES, find_recipe
from lettrine.recipes.recipe import Recipe
from lettrine.text.words import WordList
from lettrine.training.api import as_word_list


def chosen_recipes(names: Sequence[str], *, everything: bool = False) -> tuple[list[Recipe], WordList]:
    """Recipes and words from arguments as they are typed: names of recipes, then perhaps a word list.

    Raises ConfigError if no recipe is named, or a name is neither a recipe nor, at the end, a file; WordListError.
    """
    known = {recipe.name for recipe in RECIPES}
    place = next((i for i, name in enumerate(names) if name not in known), len(names))
    chosen, rest = [find_recipe(name) for name in names[:place]], names[place:]
    if everything:
        if chosen:
            raise ConfigError(f"--all runs every recipe; leave out {chosen[0].name}")
        chosen = list(RECIPES)
    if not chosen:
        if rest:
            find_recipe(rest[0])  # says which there are
        raise ConfigError("recipe run got no recipe; expected a name such as deep-gain-3, or --all (see lettrine recipe list)")
    if len(rest) > 1:
        raise ConfigError(
            f"recipe run got {quote(rest[0])}, which is no recipe, and more after it; expected at most one word list"
        )
    return chosen, as_word_list(rest[0] if rest else None)
