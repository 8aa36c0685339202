"""What an endpoint has been asked for, and what that cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Spent:
    """Counts of all requests so far, also of those that failed; tokens as the endpoint counts them."""

    price_per_million: float | None = None
    """Of tokens, in the currency of whoever reads it."""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def money(self) -> float | None:
        """None where the price is not known."""
        if self.price_per_million is None:
            return None
        return (self.prompt_tokens + self.completion_tokens) * self.price_per_million / 1e6

    def add(self, *, requests: int = 0, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.prompt_tokens += prompt_tokens
            self.completion_tokens += completion_tokens

    def count(self, usage: Any) -> None:
        """Add what an answer's `usage` says; what it does not say is not guessed."""
        names = ("prompt_tokens", "completion_tokens")
        said = {name: usage.get(name) for name in names} if isinstance(usage, dict) else {}
        self.add(**{name: value for name, value in said.items() if isinstance(value, int) and value > 0})
