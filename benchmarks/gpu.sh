#!/usr/bin/env bash
# The engine on one GPU, without a network: see gpu.py, which this hands its options to.
#
#   bash benchmarks/gpu.sh --wheels [3.12]    with a network: fetch benchmarks/wheels/ for a machine with that Python
#   bash benchmarks/gpu.sh [OPTIONS]          on the machine; PYTHON names its Python, by default python3
#
# benchmarks/wheels/ holds, in the versions of constraints.txt, what a machine with PyTorch may lack: 29 MiB, for which
# torch and what is large are left out. So numpy, pandas, pyarrow, sympy, matplotlib and other common packages have to
# be on the machine; what is missing is told. Five wheels are compiled (Linux on x86_64; two for one Python alone).
# Where anything is missing they are installed into a folder that goes with the script, before the machine's own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
carried='accelerate|annotated-types|antlr4-python3-runtime|bm25s|datasets|dill|httpcore2|httpx2|huggingface_hub|iniconfig|
jiter|latex2sympy2_extended|math-verify|multiprocess|openai|peft|pluggy|pydantic|pydantic_core|pytest|resvg-py|safetensors|
sniffio|snowballstemmer|tokenizers|transformers|trl|truststore|typer|typing-inspection|typing_extensions'

if [[ ${1:-} == --wheels ]]; then
  rm -rf "$here/wheels"
  grep -iE "^(${carried//$'\n'/})==" "$here/../constraints.txt" | xargs "$python" -m pip download --quiet --no-deps \
    --only-binary=:all: --python-version "${2:-3.12}" --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest "$here/wheels"
  size=$(du -sm "$here/wheels" | cut -f1)
  echo "$here/wheels: $size MiB"
  (( size < 40 )) || { echo "error: more than 40 MiB" >&2; exit 1; }
  exit
fi

missing() {  # of what pyproject.toml names
  "$python" - "$here/../pyproject.toml" <<'PYTHON'
import re, sys, tomllib
from importlib.metadata import PackageNotFoundError, version
for need in tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"] + ["pytest"]:
    name = re.match(r"[\w-]+", need)[0]
    try:
        version(name)
    except PackageNotFoundError:
        print(name, end=" ")
PYTHON
}

export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
if [[ -n $(missing) && -d $here/wheels ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  site=$folder/site-packages  # by this name dill, which datasets hashes with, knows installed modules from a script's
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$here"/wheels/*.whl
  export PYTHONPATH="$site:$PYTHONPATH"
fi
if [[ -n $(missing) ]]; then
  echo "error: not installed for $python: $(missing); --wheels fetches, with a network, what can be carried" >&2
  exit 2
fi
"$python" "$here/gpu.py" "$@"
