"""The notebooks of examples/: run, and set as a page with what they printed and drew."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from scripts.site.programs import ROOT

EXAMPLES: Final = ROOT / "examples"
CACHE: Final = ROOT / "build" / "site-kept"
SECONDS: Final = 300  # for one cell


def run(path: Path) -> Any:
    """The notebook with its outputs; raises what its code raises."""
    import nbformat  # noqa: PLC0415
    from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with TemporaryDirectory() as place:  # sockets with a name of their own: relative ones lie where the kernel runs
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{place}/kernel")
        how = {"timeout": SECONDS, "startup_timeout": SECONDS, "resources": {"metadata": {"path": str(path.parent)}}}
        NotebookClient(book, km=kernel, **how).execute(cleanup_kc=True)
    return book


def title_of(path: Path) -> str:
    """Its first heading."""
    found = re.search(r'"# (.+?)(\\n)?"', path.read_text(encoding="utf-8"))
    return found[1] if found else path.stem.replace("_", " ")


def notebook_page(path: Path) -> str:
    """The notebook as Markdown; kept until its text or the code of the package changes."""
    seen = hashlib.sha256(path.read_bytes())
    for each in sorted((ROOT / "src").rglob("*.py")):
        seen.update(each.read_bytes())
    kept = CACHE / f"{path.stem}-{seen.hexdigest()[:16]}.md"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(_markdown(run(path), path.name), encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _markdown(book: Any, name: str) -> str:
    parts = []
    for place, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += [text for output in cell.outputs if (text := _output(output, f"cell-{place}"))]
    parts.append(f"This page is `examples/{name}` as it runs.")
    return "\n\n".join(parts) + "\n"


def _output(output: Any, prefix: str) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```" if output.name == "stdout" else ""
    drawn = output.get("data", {})
    if "text/html" in drawn:
        picture = re.sub(r'(\bid="|url\(#)', rf"\g<1>{prefix}-", drawn["text/html"])
        return f'<div class="cell">{_themed(picture)}</div>'
    return f"```text\n{drawn['text/plain']}\n```" if "text/plain" in drawn else ""


def _themed(picture: str) -> str:
    """The colours of a picture as variables, so that it follows light and dark."""
    from lettrine.report.theme import DEPTHS_LIGHT, LIGHT, variables  # noqa: PLC0415

    for name, colour in variables(dict(LIGHT), DEPTHS_LIGHT).items():
        picture = picture.replace(colour, f"var(--{name})")
    return re.sub(r'<svg ([^>]*?) width="[\d.]+" height="[\d.]+"', r"<svg \1", picture)
