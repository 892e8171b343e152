#!/usr/bin/env bash
# In a Dask worker (distributed 2026.8.0 on Linux with glibc) PyTorch 2.13.0 gets every tensor above 128 KiB as new pages
# from the kernel, each time.
#
# One would guess: MALLOC_TRIM_THRESHOLD_ says how much free memory the heap keeps before it is given back, so a high
# value keeps more, and any value concerns memory that is free for good.
# What happens: glibc starts with 128 KiB as the size from which a block is mapped by itself, and raises that to the size
# of the blocks it sees freed, so that a training loop's tensors soon come from the heap and stay there. Setting any of
# MALLOC_TRIM_THRESHOLD_, MALLOC_TOP_PAD_, MALLOC_MMAP_THRESHOLD_ or MALLOC_MMAP_MAX_, to whatever value, turns the
# raising off: every larger tensor is mapped, faulted in page by page, and unmapped when it is freed. Dask's nanny sets
# the first of them for its workers, by default. A threshold of 64 GiB, meant to keep everything, does the same.
# MALLOC_MMAP_MAX_=0 beside it gives the pages back to the heap.
# Why it matters: nothing fails. Steps of a model of 135 M parameters on the CPU took a third more time, most of it in the
# kernel, which `top` shows as `sy`.
set -euo pipefail
getconf GNU_LIBC_VERSION >/dev/null 2>&1 || { echo "needs glibc"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 distributed==2026.8.0 2>/dev/null
cat >"$work/faults.py" <<'PYTHON'
import resource

import torch


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def step():
    for _ in range(10):
        torch.ones(2_000_000)  # 8 MB, and freed


step()
before = faults()
for _ in range(10):
    step()
pages = 2_000_000 * 4 / resource.getpagesize()
share = (faults() - before) / (100 * pages)
print("of a tensor's pages are new each time:", "all" if share > 0.9 else "none" if share < 0.1 else f"{share:.0%}")
PYTHON
dask=$("$work/venv/bin/python" -c '
import dask, distributed
print(dask.config.get("distributed.nanny.pre-spawn-environ")["MALLOC_TRIM_THRESHOLD_"])')
run() {
    echo "$*"
    env -u MALLOC_TRIM_THRESHOLD_ -u MALLOC_TOP_PAD_ -u MALLOC_MMAP_MAX_ -u MALLOC_MMAP_THRESHOLD_ -u GLIBC_TUNABLES \
        OMP_NUM_THREADS=1 "$@" "$work/venv/bin/python" "$work/faults.py" 2>/dev/null
}
{
    echo "Dask's default for its workers: MALLOC_TRIM_THRESHOLD_=$dask"
    run env
    run env MALLOC_TRIM_THRESHOLD_="$dask"
    run env MALLOC_TRIM_THRESHOLD_=68719476736
    run env MALLOC_TRIM_THRESHOLD_=68719476736 MALLOC_MMAP_MAX_=0
} | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
Dask's default for its workers: MALLOC_TRIM_THRESHOLD_=65536
env
of a tensor's pages are new each time: none
env MALLOC_TRIM_THRESHOLD_=65536
of a tensor's pages are new each time: all
env MALLOC_TRIM_THRESHOLD_=68719476736
of a tensor's pages are new each time: all
env MALLOC_TRIM_THRESHOLD_=68719476736 MALLOC_MMAP_MAX_=0
of a tensor's pages are new each time: none
SEEN
