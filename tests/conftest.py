"""What all tests share."""

from __future__ import annotations

from toolchain.interrupts import heed_interrupts


def pytest_configure() -> None:
    """Tests that run in the background are as quick as others."""
    heed_interrupts()
