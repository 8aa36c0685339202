"""Making and requiring checks: a value, a limit it must not pass, and how it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from basewright.errors import Refused
from basewright.records import Check


def at_most(name: str, value: float, limit: float, how: str) -> Check:
    """Passed when `value` is a number no larger than `limit`."""
    return Check(name=name, value=value, limit=limit, passed=math.isfinite(value) and value <= limit, how=how)


def require(checks: Sequence[Check], fix: str) -> None:
    """Raise `Refused` with the first check that failed: its value, its limit, and how it was measured."""
    for check in checks:
        if not check.passed:
            raise Refused(f"{check.name}: {check.value:.4g}, the limit is {check.limit:.4g} ({check.how})", fix=fix)
