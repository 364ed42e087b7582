"""Makes `paper`, the helper beside these tests, importable by them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("paper")
