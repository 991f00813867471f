#!/usr/bin/env bash
# What takes too long for every change: planted defects, honest variation, every step of every
# golden with all relations, many random nets, an attack on all that reads files, with a seed of the
# day, and nets that are no reference models. Each figure is left under build/nightly/.
set -euo pipefail
cd "$(dirname "$0")/.."
make .venv/.ready
python=.venv/bin/python
out=build/nightly
mkdir -p "$out"

told() {
  printf '\n== %s\n' "$*"
  "$@"
}

told $python -m harness.mutate --report-dir "$out"
told $python ci/false_alarms.py --json "$out/false_alarms.json"
told $python -m harness.validate --every-step --relation all --report-dir "$out/report"
told env HYPOTHESIS_PROFILE=nightly $python -m pytest tests/integration/test_random_nets.py
told $python ci/attack/run.py
told $python ci/attack/fuzz.py --files 10000 --seed "$(date +%Y%m%d)" -o "$out/attack"
told $python ci/own_nets/run.py honest --lengths default --json "$out/own_honest.json"
told $python ci/own_nets/run.py mutants --lengths default --json "$out/own_mutants.json"
rm -f "$out/architectures.jsonl"
told $python ci/architectures/run.py --eager --json "$out/architectures.jsonl" \
  --docs "$out/architectures.md"
