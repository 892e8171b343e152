"""`python -m benchmarks.emulated COMMAND …`: `realm COMMAND …`, or a benchmark, on the emulated device."""

import argparse
import atexit
import runpy
import sys
from pathlib import Path

from benchmarks.emulated import NAME, counts


def _tell() -> None:
    found = counts()
    print(f"{sum(found.values()):,} operations of {len(found)} kinds on the emulated device", file=sys.stderr)


atexit.register(_tell)
if Path("".join(sys.argv[1:2])).suffix == ".py":
    sys.path.insert(0, str(Path(sys.argv[1]).parent))
    import common  # type: ignore[import-not-found]

    common.SIZES[NAME] = common.SIZES["cpu"]
    argparse.ArgumentParser._check_value = lambda *_: None  # type: ignore[method-assign]  # --device emulated
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    from realm.cli.app import main

    main()
