"""A home with an accounts payable department of a month, and proposals to decide in it."""

from pathlib import Path

import pytest

from tests.builders import Payables
from tests.governance.world import Governed


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


@pytest.fixture
def governed(payables: Payables) -> Governed:
    """Two hundred invoices that were executed, of four vendors."""
    return Governed(payables)
