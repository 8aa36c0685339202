"""A language is named where the words show it, and not where they do not."""

from __future__ import annotations

import pytest

from basewright.looking.language import UNSURE, language, languages

SENTENCES = {
    "en": "I would like to change the address on my account, but the page does not open.",
    "de": "Ich möchte die Adresse in meinem Konto ändern, aber die Seite öffnet sich nicht.",
    "fr": "Je voudrais changer l'adresse de mon compte, mais la page ne s'ouvre pas.",
    "es": "Quiero cambiar la dirección de mi cuenta, pero la página no se abre cuando hago clic.",
    "it": "Vorrei cambiare l'indirizzo del mio conto, ma la pagina non si apre più.",
    "pt": "Quero mudar o endereço da minha conta, mas a página não abre.",
    "nl": "Ik wil het adres van mijn account wijzigen, maar de pagina gaat niet open.",
    "pl": "Chcę zmienić adres na moim koncie, ale strona się nie otwiera i nie wiem czy to błąd.",
    "tr": "Hesabımdaki adresi değiştirmek için bir sayfa var ama ne yazık ki çok yavaş.",
    "fi": "Haluan muuttaa osoitteen, mutta sivu ei aukea kun minä painan, joten se on rikki.",
    "ru": "Я хочу изменить адрес, но страница не открывается.",
    "el": "Θέλω να αλλάξω τη διεύθυνση του λογαριασμού μου.",
    "ja": "アカウントの住所を変更したいのですが、ページが開きません。",
    "zh": "我想更改我的地址，但页面打不开。",
    "ko": "주소를 바꾸고 싶은데 페이지가 열리지 않아요.",
    "ar": "أريد تغيير العنوان في حسابي لكن الصفحة لا تفتح.",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence(name: str) -> None:
    assert language(SENTENCES[name]) == name


@pytest.mark.parametrize(
    "text", ["", "12 34", "ok", "Larkdesk login", "error 500", "Hallo, password kaputt", "xyzzy plugh"]
)
def test_too_short_or_mixed_is_unsure(text: str) -> None:
    assert language(text) == UNSURE


def test_shares_of_many() -> None:
    found = dict(languages([SENTENCES["en"]] * 90 + [SENTENCES["de"]] * 9 + ["ok"]))
    assert found == {"en": 0.9, "de": 0.09, UNSURE: 0.01}
