"""Shows a training while it runs: a local server and its page. This room knows traces and pictures, not torch.

`board` holds the newest state, `painter` puts pictures on it without making a training wait, `server` shows it to browsers,
`play` is a training that the page may change.
"""

from __future__ import annotations

from typing import Final

LOCAL: Final = "127.0.0.1"
"""The address that only this machine can reach."""
PORT: Final = 8642
"""The default port of pages."""
