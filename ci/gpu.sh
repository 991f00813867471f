#!/usr/bin/env bash
# The conformance of ONNX Runtime on this machine's GPU, from exported models alone: docs/gpu.md.
# Usage: ci/gpu.sh [--output FILE] [MODEL …]. Ends with 3 where there is no CUDA device.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if ! "$python" -c 'import jinja2, msgspec, numpy, onnx, onnxruntime, rich, safetensors' 2>/dev/null; then
  echo "error: $python lacks a library: pip install -e '.[cuda]'" >&2
  exit 3
fi
exec "$python" ci/gpu.py "$@"
