"""The Modelfile that Ollama creates the model from. A base model continues text: the template is the prompt itself."""

from __future__ import annotations

from basewright.errors import Refused
from basewright.release.parts import Parts, path_of


def modelfile(parts: Parts) -> str:
    """Raises `Refused` when a stop text cannot be written in a Modelfile.

    Ollama's parser knows no escapes: a line break in a value is a line break between triple quotes. Its repeat
    penalty is on by default and would lower a label whose words stand in the text, so it is switched off.
    """
    source = path_of(parts.gguf) if parts.gguf else "model"
    lines = [
        f"# {' '.join(parts.name.split())}: run `ollama create NAME -f Modelfile` in this folder",
        f"FROM ./{source}",
        'TEMPLATE """{{ .Prompt }}"""',
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {parts.card.context}",
        f"PARAMETER num_predict {parts.max_tokens}",
        *(f"PARAMETER stop {_quoted(stop)}" for stop in parts.stops),
        f"LICENSE {_quoted(parts.duties.licence + '; the texts are in LICENSE or LICENSE-NOTICE.md, and in NOTICE')}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if '"""' in text or text.startswith('"') or text.endswith('"'):
        raise Refused(
            f"a Modelfile cannot hold the separator {text!r}: its quotes would end the value",
            fix="set [task].separator in the recipe to a text without double quotes",
        )
    return f'"""{text}"""'
