"""What mkdocs calls: makes the generated pages, the style and the order of the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from scripts.site import notebooks, pages, programs, recipes  # noqa: E402  found by the line above


def _checks() -> Any:
    from lettrine.health.checks import CHECKS  # noqa: PLC0415

    return CHECKS


def _experiments() -> Any:
    from lettrine.torch.checkup import experiments  # noqa: F401, PLC0415  fills it
    from lettrine.torch.checkup.experiment import EXPERIMENTS  # noqa: PLC0415

    return EXPERIMENTS


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The generated pages take their places among the others."""
    ordered = [
        {title: [{each.id: f"checks/{each.id}.md"} for each in group]} for title, group in pages.grouped(_checks()).items()
    ]
    experiments = [{each.title: f"experiments/{each.id}.md"} for each in _experiments().values()]
    examples = [{notebooks.title_of(path): f"examples/{path.stem}.md"} for path in sorted(notebooks.EXAMPLES.glob("*.ipynb"))]
    assert config.nav is not None  # noqa: S101  for the type checker: mkdocs.yml has one
    for place, part in enumerate(config.nav):
        for title, made in (("Checks", ordered), ("Experiments", experiments), ("Examples", examples)):
            if title in part:
                config.nav[place] = {title: [*([f"{title.lower()}/index.md"] if title != "Examples" else []), *made]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every generated file."""
    from scripts.site.facts import facts  # noqa: PLC0415

    from lettrine.health.checks.causes import EXPLAINS  # noqa: PLC0415

    checks, experiments = _checks(), _experiments()
    proves = {each.id: facts(each.function).findings for each in experiments.values()}
    made = {name: programs.shown("check", name) for name in checks}
    tried = {name: programs.shown("experiment", name) for name in experiments}
    texts = {
        "checks/index.md": pages.checks_index(checks),
        "experiments/index.md": pages.experiments_index(experiments),
        "recipes.md": recipes.recipes_page(),
        "style/site.css": style(),
        **{f"checks/{each.id}.md": pages.check_page(each, made[each.id], EXPLAINS, proves) for each in checks.values()},
        **{f"experiments/{each.id}.md": pages.experiment_page(each, tried[each.id], checks) for each in experiments.values()},
        **{f"examples/{path.stem}.md": notebooks.notebook_page(path) for path in sorted(notebooks.EXAMPLES.glob("*.ipynb"))},
    }
    for place, text in texts.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Nothing may be loaded from a network when a page is read."""
    del config
    if found := re.search(r'(?:\ssrc|<link[^>]*\shref)="(?:https?:)?//[^"]*"', output):
        raise PluginError(f"{page.file.src_uri} would load something from a network: {found[0].strip()}")
    return output


def style() -> str:
    """The colours of lettrine's own pages for the site's light and dark scheme, and the rules of the site."""
    from lettrine.report.theme import DARK, DEPTHS_DARK, DEPTHS_LIGHT, LIGHT, SERIF, variables  # noqa: PLC0415

    schemes = []
    for scheme, palette, depths in (("default", LIGHT, DEPTHS_LIGHT), ("slate", DARK, DEPTHS_DARK)):
        rules = "".join(f"--{name}:{colour};" for name, colour in variables(dict(palette), depths).items())
        schemes.append(f'[data-md-color-scheme="{scheme}"]{{{rules}--serif:{SERIF};}}')
    return "\n".join([*schemes, (Path(__file__).parent / "site.css").read_text(encoding="utf-8")])
