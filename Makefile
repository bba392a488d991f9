# Two commands do everything a new user needs: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TASK ?= put the red cube in the drawer
SEED ?= 7
OUT ?= out/demo
SOAK_S ?= 1800

.PHONY: ros-env ros1-env help setup demo demo-ros2 test lint clean soak
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(VENV)/.ready  ## make .venv and install everything into it

$(VENV)/.ready: pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)
	@touch $@

ros-env: $(VENV)-ros/.ready  ## make .venv-ros: real rclpy and a rosbridge, without a ROS installation

$(VENV)-ros/.ready: pyproject.toml tools/ros_env.sh
	@PYTHON="$(PYTHON)" sh tools/ros_env.sh $(VENV)-ros
	@touch $@

ros1-env:  ## Debian's ROS 1 (roscore, rospy), for the tests that need it; installs as root, else says how
	@sh tools/ros1_env.sh

demo: setup  ## camera frame -> verified goal images -> a robot arm carries them out (TASK="…" SEED=n)
	@$(BIN)/itk-embodied demo --task "$(TASK)" --seed $(SEED) --out $(OUT)

demo-ros2: setup ros-env  ## the same over real ROS 2: camera, node and robot are three rclpy processes
	@$(VENV)-ros/bin/python launch/demo_ros2.py --task "$(TASK)" --seed $(SEED) --out $(OUT)-ros2

test: setup lint  ## lint, types, then the whole test suite
	@$(BIN)/python -m pytest

soak: setup  ## half an hour at full rate with clients coming and going, and 100,000 hostile messages (SOAK_S=seconds)
	@ITK_SOAK_S=$(SOAK_S) ITK_EXAMPLES=100000 ITK_SOAK_JSON=out/soak.json $(BIN)/python -m pytest -m soak tests/e2e
	@cat out/soak.json

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean:  ## remove the environment and what runs wrote
	rm -rf $(VENV) $(VENV)-ros out .pytest_cache .mypy_cache .ruff_cache
