# make demo     install into .venv, run the embedded sweep, print its tables
# make test     install into .venv, run the tests
# make test-slow   those that take a minute each, which make test leaves out
# make faults   bring about every fault that a sweep may meet; writes docs/reliability.md (20 minutes)
# make check    lint and types
# make scale    ten thousand trials on this machine beside what Ray itself needs, ten minutes or more (N=2000 takes fewer)
# make bench    what it costs beside what a user would run instead; writes docs/performance.md (BENCH_FLAGS='--mirror DIR'; two hours)
# make test-cluster   three hosts made of namespaces, one killed, one cut off (needs root; CLUSTER_FLAGS=--skip: or say why not)
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin

.PHONY: demo test test-slow check golden install test-cluster scale faults bench

demo: install
	$(BIN)/xfer-ray run sweeps/demo.py
	@echo
	$(BIN)/xfer-ray tables results/demo --model mini-encoder
	@echo
	@echo "What to look at next:"
	@echo "  . $(BIN)/activate"
	@echo "  xfer-ray recommend results/demo                     which source, and how sure that is"
	@echo "  xfer-ray report results/demo                        all that was found, as one page"
	@echo "  xfer-ray tables results/demo --values ability       accuracies instead of ratios"
	@echo "  xfer-ray tables results/demo --format latex         the same for a paper"
	@echo "  xfer-ray run sweeps/demo.py --seeds 0-4             two more seeds; what is done stays done"
	@echo "  xfer-ray tables results/demo --model majority       the floor: what guessing the most frequent label scores"
	@echo "  xfer-ray plan sweeps/xnli.py                        the trials of the paper's Table 2"
	@echo "  python -c 'import pandas; print(pandas.read_parquet(\"results/demo/scores\"))'"

test: install
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: install
	$(BIN)/pytest -n 2 --dist loadfile -m slow $(SLOW_FLAGS)

test-cluster: install
	$(BIN)/python tests/cluster/three_hosts.py $(CLUSTER_FLAGS)

scale: install
	$(BIN)/python -m benchmarks.scale --trials $(or $(N),10000)

bench: install
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable '.[bench]'
	for name in training peak evaluation share feeding sweep startup overhead reading resampling; do \
		$(BIN)/python -m benchmarks.$$name $(BENCH_FLAGS) || exit 1; \
	done
	$(BIN)/python -m benchmarks.report

faults: install
	$(BIN)/pytest -m fault --fault-table=docs/reliability.md

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: install
	XFER_RAY_GOLDEN=write $(BIN)/pytest tests/test_tables.py

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV); this takes a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	touch $@
