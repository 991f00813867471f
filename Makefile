# make validate: the main job. make test: linters, types and tests. make quick: the tests that are
# not slow. Each sets everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# ONNX Runtime with CUDA where there is a wheel of it.
ORT := "onnxruntime-gpu; (sys_platform == 'linux' and platform_machine == 'x86_64') or sys_platform == 'win32'" \
	"onnxruntime; sys_platform == 'darwin' or (sys_platform == 'linux' and platform_machine != 'x86_64')"

.PHONY: validate test quick lint web clean

validate: $(READY)
	$(BIN)/python -m harness.validate --every-step

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

quick: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[keras,torch,openvino,tract,test]' $(ORT)
	touch $@

# ONNX Runtime Web for the runtime ort-web; needs Node 20 or later.
web:
	npm install --prefix build/node --ignore-scripts --no-audit --no-fund onnxruntime-web@1.30.0

clean:
	rm -rf build $(VENV)
