# pcemu: everything a developer does, from a clean clone. `make help` lists it.
#
# Needs: Python 3.11 or newer, a C compiler with binutils, and (the first time) the network.
# Everything else is fetched into .venv (Python packages) and .cache (Debian kernels); nothing is installed.

SHELL := /bin/sh
PY := .venv/bin/python
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# Where scripts/venv.py puts Python.h when the machine has none.
HEADERS := $(wildcard $(CURDIR)/.cache/python-dev/usr/include/python3*)
ifneq ($(HEADERS),)
export CPATH := $(HEADERS):$(CURDIR)/.cache/python-dev/usr/include$(if $(CPATH),:$(CPATH))
endif

TOUR := pcemu/data/tour.elf
GUESTS := .cache/guests
INITRD := $(GUESTS)/shell-amd64.img
# Pass more options to the demo: make demo ARGS="-cpu Nehalem -d int"
ARGS ?=

.PHONY: help venv build firmware guests demo tour test test-interpreted test-fast boot lint types bench soak asan docs clean clean-cache

help:
	@echo "make demo        build, fetch a Debian kernel and busybox, boot them to a shell (Ctrl-A x leaves)"
	@echo "make tour        build, run the built-in guest: no download"
	@echo "make test        all rings of tests           make test-fast   those that need no guest kernels"
	@echo "make test-interpreted  with nothing compiled (part of make test)"
	@echo "make lint types  ruff, cython-lint; mypy      make bench       pcemu, QEMU and Bochs side by side"
	@echo "make soak        the tests that take hours    make docs        docs/_build/html"
	@echo "make asan        the core's tests under the address and undefined-behaviour sanitizers"
	@echo "make clean       remove what was built        make clean-cache and what was fetched"

venv:
	@python=$$(scripts/find_python.sh) && "$$python" -m scripts.venv

# The second make reads .cache/python-dev, which the first may just have filled.
build: venv
	@$(MAKE) --no-print-directory compiled

.PHONY: compiled
compiled: .venv/installed
	@$(PY) setup.py -q build_ext --inplace --parallel $(JOBS)

# An editable install: the `pcemu` command in .venv runs this tree.
.venv/installed: setup.py pyproject.toml .venv/up-to-date
	@$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/up-to-date: ;

firmware: venv
	@$(PY) firmware/build.py

guests: venv
	@$(PY) -m scripts.guests

demo: build
	@$(PY) -m scripts.guests cloud busybox
	@$(PY) -m scripts.mkinitramfs --init shell --output $(INITRD)
	@echo "Booting Debian's cloud kernel. Type 'poweroff -f' to leave, or Ctrl-A x."
	@$(PY) -m pcemu -m 256 -nographic -kernel $(GUESTS)/vmlinuz-cloud-amd64 -initrd $(INITRD) \
		-append "console=ttyS0" $(ARGS)

tour: build
	@$(PY) -m pcemu -nographic -kernel builtin:tour $(ARGS)

# What runs on both engines: the second time every block is compiled at its first execution.
BOTH := tests/asm tests/diff/test_x87.py tests/diff/test_x87_control.py tests/diff/test_integer.py tests/diff/test_integer32.py tests/diff/test_sse.py tests/diff/test_sse_memory.py \
	tests/diff/test_avx.py tests/diff/test_avx_memory.py tests/fuzz

INTERPRETED = PCEMU_JIT=off $(PY) -m pytest -q -n $(JOBS) tests

test: build guests
	@$(PY) -m pytest -q -n $(JOBS) tests
	@PCEMU_JIT=1 $(PY) -m pytest -q -n $(JOBS) $(BOTH)
	@$(INTERPRETED)

# The suite with nothing compiled.
test-interpreted: build guests
	@$(INTERPRETED)

test-fast: build
	@$(PY) -m pytest -q -n $(JOBS) -m "not fetch" tests

boot: build guests
	@$(PY) -m pytest -q tests/boot

# What the instruction table generates, without compiling: cython-lint follows includes.
.PHONY: tables
tables: venv
	@$(PY) pcemu/_core/isa/gen.py

lint: tables
	@$(PY) -m ruff check .
	@PATH="$(CURDIR)/.venv/bin:$$PATH" cython-lint pcemu

types: venv
	@$(PY) -m mypy

bench: build guests
	@$(PY) -m bench.run

asan: venv
	@$(PY) -m scripts.asan

soak: build guests
	@$(PY) -m pytest -q --soak tests
	@cd tests && PYTHONPATH=..:. ../$(PY) -m fuzz.soak --hours 8 --resume ../.cache/soak.json

docs: build
	@$(PY) -m pip install -q --disable-pip-version-check -r docs/requirements.txt
	@$(PY) -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf docs/_build docs/reference build dist *.egg-info pcemu/data/tour.elf pcemu/_core/gen .venv/installed
	find pcemu -name '*.so' -delete
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-cache: clean
	rm -rf .cache .venv
