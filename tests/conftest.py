"""Fixtures that several test files use."""

import os
import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _hear_interrupts() -> None:
    """Hear Ctrl-C, which tests send: shells start background jobs that ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of arrays that the published codes computed."""
    return TESTS / "golden"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data beside the checkout, or where DAVEZOO_SHARED says; else a skip."""
    folder = Path(os.environ.get("DAVEZOO_SHARED", TESTS.parent.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data in {folder}")
    return folder
