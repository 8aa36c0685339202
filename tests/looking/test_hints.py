"""Slips of labels and personal data: what is planted is found, what is not there is not."""

from __future__ import annotations

import random

from basewright.looking import hints


def test_slips_of_a_label_are_named_and_other_labels_are_not() -> None:
    counts = {
        "billing": 200,
        "Billing": 90,
        "biling": 3,
        "login": 80,
        "log-in": 60,
        "level 1": 100,
        "level 2": 4,
        "bug": 40,
    }
    assert {(name, other) for name, other, _ in hints.slips(counts)} == {
        ("Billing", "billing"),
        ("biling", "billing"),
        ("log-in", "login"),
    }


def test_alike_but_both_frequent_is_no_slip() -> None:
    assert hints.slips({"top up failed": 100, "top up failing": 80}) == ()


def test_h071_of_a_hundred_planted_at_least_95_are_found() -> None:
    draw = random.Random(1)

    def digits(count: int) -> str:
        return "".join(draw.choice("0123456789") for _ in range(count))

    makers = [
        lambda: f"jo.{digits(3)}@mail{digits(2)}.example.org",
        lambda: f"+49 {digits(3)} {digits(4)} {digits(3)}",
        lambda: f"({digits(3)}) {digits(3)}-{digits(4)}",
        lambda: draw.choice(["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"]),
        lambda: draw.choice(["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR1420041010050500013M02606"]),
        lambda: f"sk-{digits(24)}",
    ]
    texts = [f"please write to me, {draw.choice(makers)()}, thank you" for _ in range(100)]
    found = hints.personal(texts, [f"line {i}" for i in range(100)])
    assert len({place for places in found.values() for place in places}) >= 95
    assert not any(text.split(", ")[1] in str(found) for text in texts)


def test_ordinary_numbers_are_no_personal_data() -> None:
    texts = [
        "invoice 2209-114 of 14/02/2026 over 1,250.00",
        "order 1234567890123456 has not come",  # sixteen digits, and no card's check digit
        "version 10.2.3, error 500, 72 parts",
        "open 9-18, room 12, 3 x 33.33",
        "DE811234567 is our VAT number",
        "clause 7.3(a)(ii) of the agreement",
    ]
    assert hints.personal(texts, [str(i) for i in range(len(texts))]) == {}
