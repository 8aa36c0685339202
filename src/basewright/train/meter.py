"""How fast a run goes: tokens a second, share of the machine's matrix peak, memory, time left. Changes no result."""

from __future__ import annotations

import resource
import sys
import time
from functools import cache

import torch

from basewright.records import record

SIZE = 1024
"""Of the square matrices whose product measures the peak: large enough for it, a few hundredths of a second."""
TRIES = 5


@record
class Speed:
    tokens_per_second: float
    mfu: float
    """Useful floating-point operations as a share of `peak` (model FLOPs utilisation: PaLM, 2022, appendix B)."""
    peak_memory: int
    """Bytes resident at most, of the whole process."""
    seconds_left: float

    def __str__(self) -> str:
        share = f" · {self.mfu:.0%} of peak" if self.mfu else ""
        return f"{self.tokens_per_second:,.0f} tokens/s{share} · {self.peak_memory / 2**30:.1f} GiB"


class Meter:
    """Counts the steps of one process; a resumed run starts a new one. `steps` are left when it begins."""

    def __init__(self, precision: str, flops_per_token: float, steps: int) -> None:
        self._flops_per_token = flops_per_token
        self._peak = max(peak("float32"), peak(precision)) if flops_per_token else 0.0
        self._left = steps
        self._done = self._tokens = 0
        self._clock = time.monotonic()

    def step(self, tokens: int) -> Speed:
        """After each step, with the tokens it saw."""
        self._done += 1
        self._tokens += tokens
        spent = max(time.monotonic() - self._clock, 1e-9)
        return Speed(
            tokens_per_second=self._tokens / spent,
            mfu=self._flops_per_token * self._tokens / spent / self._peak if self._peak else 0.0,
            peak_memory=peak_memory(),
            seconds_left=spent / self._done * (self._left - self._done),
        )


@cache
def peak(precision: str) -> float:
    """Operations a second in a square matrix product, by processor time, so that other programs do not lower it."""
    a, b = (torch.ones(SIZE, SIZE, dtype=getattr(torch, precision)) for _ in range(2))
    best = float("inf")
    for _ in range(TRIES):
        clock = time.process_time()
        torch.mm(a, b)
        best = min(best, (time.process_time() - clock) / torch.get_num_threads())
    return 2.0 * SIZE**3 / best


def peak_memory() -> int:
    """Bytes this process held at most; macOS counts them, Linux in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
