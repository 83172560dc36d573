# Two commands do everything: `make propagate` and `make test`. Both build .venv when it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/result
ARGS ?=

UI := tests/ui/node_modules

.PHONY: setup ready propagate check test lint clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

ifdef VIDEO
# make propagate VIDEO=clip.mp4 MASK=first.png [OUT=dir] [ARGS="--clip-length 25"]
propagate: $(VENV)/.ready
	@test -n "$(MASK)" || { echo "perclip: error: give the mask of the first frame too: make propagate VIDEO=$(VIDEO) MASK=first.png" >&2; exit 2; }
	$(BIN)/perclip propagate "$(VIDEO)" --keyframe "0=$(MASK)" --out "$(OUT)" $(ARGS)
else ifdef MASK
propagate:
	@echo "perclip: error: give the video too: make propagate VIDEO=clip.mp4 MASK=$(MASK)" >&2; exit 2
else
# The sample is rendered afresh, with true masks, so that the run can say how good it is.
propagate: $(VENV)/.ready
	rm -rf out/sample out/sample-result
	$(BIN)/perclip sample --out out/sample
	$(BIN)/perclip propagate out/sample/sample.mp4 --keyframe 0=out/sample/masks/00000.png \
		--truth out/sample/masks --out out/sample-result $(ARGS)
endif

# What the tests of the page action need beside node; without it they are skipped, and say so.
$(UI)/.ready: tests/ui/package.json
	@if command -v npm >/dev/null && cd tests/ui && \
		npm install --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null; then touch node_modules/.ready; \
	else echo "npm is missing or could not install: the page action is not tested in a browser" >&2; fi

# All that tests need.
ready: $(VENV)/.ready $(UI)/.ready

# Format, lint, types and the borders of the rooms; mypy and import-linter keep caches.
TYPES := $(BIN)/mypy && PYTHONPATH=. $(BIN)/lint-imports
check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(TYPES)

# Several processes of one thread each take half the time of one process. Types are checked beside them; what they say
# is shown where they are wrong, and then this fails whatever the tests say. Each of the tests' many processes would
# compile all modules where the environment forbids to keep them compiled.
test: ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@log=$$(mktemp); { ($(TYPES)) >$$log 2>&1 || { cat $$log; exit 1; }; } & types=$$!; \
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal; tests=$$?; \
	wait $$types || { echo "types or borders of the rooms are wrong (make check shows it)" >&2; exit 1; }; \
	rm -f $$log; exit $$tests

lint: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(UI) out
