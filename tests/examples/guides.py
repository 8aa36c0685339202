"""Small data for the situations of docs/guides, under the names that the guides use."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

THINGS = ("report", "page", "team", "client", "office", "button", "folder", "letter", "ward", "line")
MOODS = ("slow", "missing", "old", "twice", "late", "wrong")


def texts(word: str, count: int) -> list[str]:
    """Texts around one word, no two of them near-duplicates."""
    pairs = list(product(THINGS, MOODS))[:count]
    return [
        f"{thing} {word} {mood} {word} since day {place} at {place + 7}" for place, (thing, mood) in enumerate(pairs)
    ]


def rows(words: dict[str, str], count: int = 40) -> list[tuple[str, str]]:
    return [(text, label) for label, word in words.items() for text in texts(word, count)]


def solo(folder: Path) -> None:
    lines = ["Ticket;Opened;Message;Topic;Agent"]
    for place, (text, label) in enumerate(rows({"billing": "invoice", "login": "password"})):
        lines.append(f'{place};2026-03-{1 + place % 28:02};"{text}";{label};agent{place % 3}')
    (folder / "tickets.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", "utf-8", newline="")


def legal(folder: Path) -> None:
    for place, (text, label) in enumerate(rows({"termination": "notice", "liability": "damages"})):
        (folder / "clauses" / label).mkdir(parents=True, exist_ok=True)
        (folder / "clauses" / label / f"{place}.txt").write_text(text, "utf-8")


def health(folder: Path) -> None:
    lines = ["case,note,pathway,ward"]
    for place, (text, label) in enumerate(rows({"cardiology": "heart", "orthopaedics": "knee"})):
        lines.append(f"{place},{text},{label},ward {place % 5}")
    lines[3] = lines[3].replace(" since", " j.doe@example.org since", 1)
    (folder / "notes.csv").write_text("\n".join(lines) + "\n", "utf-8")


def saas(folder: Path) -> None:
    for name, words in (("desk", {"bug": "crash", "how-to": "where"}), ("pay", {"refund": "money", "card": "visa"})):
        lines = [f"{text},{label}" for text, label in rows(words)]
        (folder / f"{name}.csv").write_text("\n".join(["body,queue", *lines]) + "\n", "utf-8")
    made = rows({"lost": "crash", "customs": "visa"})
    (folder / "ship.jsonl").write_text("".join(json.dumps({"q": t, "intent": n}) + "\n" for t, n in made), "utf-8")


DATA: dict[str, Callable[[Path], None]] = {
    "solo-developer": solo,
    "legal-team": legal,
    "health-team": health,
    "saas-team": saas,
}
