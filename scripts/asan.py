"""Build a copy of the tree with the address and undefined-behaviour sanitizers and run the core's tests in it (`make asan`).

What the compiler instruments is the core's C code: handlers, the memory system, devices in Cython, the code generator. Host
code that the generator writes is not, but what it calls is; and a wild access of its own ends the process all the same.
Guest RAM is mapped without gaps, so an access beyond a block of it is not seen, one beyond any C object is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "asan"
SITE = COPY / "site"      # on the path, for sitecustomize
# capstone's library would be loaded with its own symbols first, which the sanitizers refuse
CUSTOM = "import os\n\nif hasattr(os, 'RTLD_DEEPBIND'):\n    del os.RTLD_DEEPBIND\n"
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=alignment,null,shift,signed-integer-overflow"
TESTS = ["tests/unit/test_hostile_code.py", "tests/unit/test_compiled_paging.py", "tests/unit/test_compiled_code.py",
         "tests/unit/test_jit_switch.py", "tests/unit/test_lockstep.py", "tests/device/test_virtio_ring.py",
         "tests/device/test_virtio_fuzz.py", "tests/fuzz/test_core.py", "tests/fuzz/test_compiled.py", "tests/fuzz/test_found.py",
         "tests/diff/test_compiled_vectors.py", "tests/diff/test_compiled_x87.py", "tests/asm"]
REPORT = COPY / "report"        # .PID: what they say, since pytest keeps what a process writes before it is killed


def library(name: str) -> str:
    compiler = sysconfig.get_config_var("CC") or "cc"
    found = subprocess.run([*compiler.split(), f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def main(tests: list[str]) -> int:
    built_with = COPY / "flags"
    if not built_with.exists() or built_with.read_text() != FLAGS:
        shutil.rmtree(COPY, ignore_errors=True)
        COPY.mkdir(parents=True)
        built_with.write_text(FLAGS)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, files):
        source, target = ROOT / name, COPY / name
        if source.is_file() and (not target.exists() or target.stat().st_mtime < source.stat().st_mtime):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    SITE.mkdir(exist_ok=True)
    (SITE / "sitecustomize.py").write_text(CUSTOM)
    environment = os.environ | {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", str(os.cpu_count() or 1)],
                   cwd=COPY, env=environment, check=True)
    environment = os.environ | {
        # Python's own allocations are not freed at its end; handlers of SIGSEGV would hide where it came from
        "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:log_path={REPORT}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:log_path={REPORT}",
        "LD_PRELOAD": " ".join(library(name) for name in ("libasan.so", "libubsan.so")),
        "PYTHONPATH": f"{SITE}{os.pathsep}{COPY}",
    }
    for old in COPY.glob(REPORT.name + ".*"):
        old.unlink()
    for more in ({}, {"PCEMU_JIT": "1"}):
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(tests or TESTS)],
                              cwd=COPY, env=environment | more, check=False)
        for report in COPY.glob(REPORT.name + ".*"):
            print(report.read_text(), file=sys.stderr)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
