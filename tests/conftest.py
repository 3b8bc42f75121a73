"""What all rings of tests share: the options of the suite, and the tree on the import path."""

from __future__ import annotations

import os
import platform
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for directory in (ROOT, ROOT / "tests"):
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that take hours as well (make soak)")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job (nohup, a CI runner) ignores these, and so would every program that the tests start.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    config.addinivalue_line("markers", "soak: takes minutes to hours; runs with --soak only")
    config.addinivalue_line("markers", "compiled: looks at compiled code, or compares with it")


def why_nothing_is_compiled() -> str:
    if platform.machine() not in ("x86_64", "AMD64"):
        return "code is compiled for x86-64 only"
    return "PCEMU_JIT=off" if os.environ.get("PCEMU_JIT") == "off" else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if reason := why_nothing_is_compiled():
        for item in items:
            if item.get_closest_marker("compiled"):
                item.add_marker(pytest.mark.skip(reason=reason))
    if config.getoption("--soak"):
        return
    kept = [item for item in items if "soak" not in item.keywords]
    left_out = [item for item in items if "soak" in item.keywords]
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)
