"""A training seen while it runs: a local server, and the page it shows. Knows traces and pictures, not torch.

`board` holds the newest state, `painter` puts pictures on it without making a training wait, `server` shows it to browsers,
`play` is a training that the page may change.
"""

from __future__ import annotations

from typing import Final

LOCAL: Final = "127.0.0.1"
"""The address that this machine alone can reach."""
PORT: Final = 8642
"""Where pages listen unless told otherwise."""
