"""A worker whose verifier fails on one answer as the environment says: the program behind the tests of whole runs."""

from __future__ import annotations

import os
import sys
import time

from realm.tasks.workers import _MEMORY_LIMIT, _limit, serve

#: Bytes that are taken and never touched: they count against the limit, and cost neither memory nor time.
leaked: list[bytes] = []


class Hostile:
    name = "hostile"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        what = os.environ["HOSTILE"]
        if answer == "1":
            if what == "hang":
                time.sleep(1000)
            if what == "die":
                os._exit(3)
            if what == "eat":
                bytes(4 << 30)
            if what == "leak":
                leaked.append(bytes(900 << 20))
        return answer == gold


if __name__ == "__main__":
    _limit(AS=_MEMORY_LIMIT)
    serve(Hostile(), float(sys.argv[3]))
