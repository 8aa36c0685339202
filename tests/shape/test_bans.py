"""A second copy of a gate does not exist, and nothing in the package opens a stranger's file in a way that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shape.bans import BANS, uses

SOURCE = Path(__file__).parents[2] / "src" / "basewright"
FILES = sorted(SOURCE.rglob("*.py"))


def test_h002_the_package_does_nothing_that_is_banned() -> None:
    found = [line for path in FILES for line in uses(path.read_text("utf-8"), str(path.relative_to(SOURCE)))]
    assert found == []


def test_modules_that_may_are_there_and_do() -> None:
    """An exception that nobody needs any more is taken out."""
    for ban in BANS:
        for module in ban.allowed:
            assert list(uses((SOURCE / module).read_text("utf-8"), "another.py")), module


PLANTED = [
    "import pickle",
    "import pickle as p\np.loads(b'')",
    "from pickle import loads",
    "import _pickle",
    "import dill",
    "import cloudpickle",
    "import shelve",
    "import marshal",
    "import joblib",
    "from joblib import load",
    "import torch\ntorch.load('x')",
    "import torch\ntorch.load('x', weights_only=True)",
    "import torch as t\nt.load('x')",
    "from torch import load",
    "from torch import load as open_it",
    "import torch\ngetattr(torch, 'load')('x')",
    "def f():\n    import torch\n    return torch.load",
    "import torch\ntorch.jit.load('x')",
    "import torch\ntorch.hub.load('x', 'y')",
    "from torch.serialization import load",
    "import importlib\nimportlib.import_module('pickle')",
    "__import__('pickle')",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "import numpy as np\nflag = True\nnp.load('x', allow_pickle=flag)",
    "import pandas as pd\npd.read_pickle('x')",
    "import yaml\nyaml.load('x')",
    "import yaml\nyaml.safe_load('x')",
    "from yaml import load",
    "model.from_pretrained('x', trust_remote_code=True)",
    "model.from_pretrained('x', trust_remote_code=asked)",
    "model.from_pretrained('x', **{'trust_remote_code': True})",
    "options = {'trust_remote_code': 1}",
    "from jinja2 import Environment",
    "from jinja2 import Template",
    "import jinja2\njinja2.Environment()",
    "import jinja2 as j\nj.Template('x')",
    "from jinja2.sandbox import SandboxedEnvironment",
    "from jinja2.sandbox import ImmutableSandboxedEnvironment",
    "from jinja2.nativetypes import NativeEnvironment",
    "from jinja2.environment import Environment",
    "from transformers.utils.chat_template_utils import render_jinja_template",
    "from gguf import GGUFReader",
    "import gguf\ngguf.GGUFReader('x')",
    "from gguf.gguf_reader import GGUFReader",
    "from safetensors import safe_open",
    "import safetensors\nsafetensors.safe_open('x')",
    "from safetensors.torch import load_file",
    "from safetensors.torch import load",
    "from safetensors.numpy import load_file",
    "import safetensors\nsafetensors.deserialize(b'')",
    "eval('1')",
    "exec('1')",
]


@pytest.mark.parametrize("source", PLANTED)
def test_a_planted_use_is_found(source: str) -> None:
    assert list(uses(source, "some/module.py"))


def test_every_ban_has_a_planted_use() -> None:
    found = " ".join(line for source in PLANTED for line in uses(source, "some/module.py"))
    assert [ban.why for ban in BANS if ban.why not in found] == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nmodel.eval()",
        "import numpy as np\nnp.load('x', mmap_mode='r')",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "model.from_pretrained('x', trust_remote_code=False)",
        "from safetensors.torch import save_file",
        "from gguf import GGUFWriter",
        "import json\njson.load(file)",
        "from jinja2 import nodes, TemplateError",
    ],
)
def test_what_is_allowed_passes(source: str) -> None:
    assert list(uses(source, "some/module.py")) == []
