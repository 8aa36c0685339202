"""What plans ask of a model, counted once: parameters, its linear maps, the widths that memory goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from basewright.catalog import architectures
from basewright.plan import traits
from basewright.records import ModelCard, Shape

Maps = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    card: ModelCard
    traits: traits.Traits
    maps: Maps
    """(outputs, inputs) of every linear map inside the layers, by short name."""
    sides: Mapping[str, int]
    """Outputs and inputs of all maps of a name, added up: an adapter's values at rank 1."""
    sites: tuple[str, ...]
    """The maps that can have an adapter."""

    @staticmethod
    def of(card: ModelCard) -> Model:
        config = card.config
        maps = architectures.linears(config)
        sides = {name: sum(outputs + inputs for outputs, inputs in each) for name, each in maps.items()}
        return Model(card, traits.of(config, card.shape), maps, sides, architectures.sites(config, maps))

    @property
    def shape(self) -> Shape:
        return self.card.shape

    @property
    def parameters(self) -> int:
        return self.card.parameters

    @property
    def queries(self) -> int:
        return self.shape.heads * self.shape.head_dim

    @property
    def keys(self) -> int:
        return self.shape.kv_heads * self.shape.head_dim

    @property
    def table(self) -> int:
        """Values of the token embedding."""
        return self.shape.vocabulary * self.shape.width

    @property
    def in_maps(self) -> int:
        """Values of the linear maps in the layers: what bitsandbytes quantizes. Stacked experts are none of them."""
        return sum(outputs * inputs for each in self.maps.values() for outputs, inputs in each)

    @property
    def largest(self) -> int:
        """Values of the largest tensor; transformers holds the experts of a layer as one."""
        shape = self.shape
        experts = 2 * shape.experts * shape.expert_feed_forward * shape.width
        return max(self.table, experts, *(o * i for each in self.maps.values() for o, i in each))

    @property
    def per_layer(self) -> int:
        """Mean parameters of a layer."""
        tables = self.table * (1 if self.shape.tied else 2)
        return max(0, self.parameters - tables) // self.shape.layers

    def targets(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """The maps that an adapter sits on: those named, else all. Raises `UsageError` for one there is not."""
        return architectures.targets(self.card.config, named) if named else self.sites

    def outputs(self, named: tuple[str, ...]) -> int:
        """Outputs of all targets together: the magnitudes of DoRA (Liu et al. 2024, equation 5)."""
        return sum(outputs for name in self.targets(named) for outputs, _ in self.maps[name])

    def adapter(self, rank: int, named: tuple[str, ...]) -> int:
        """Values of a LoRA adapter: rank x (inputs + outputs) of each target (Hu et al. 2021, §4.1)."""
        return rank * sum(self.sides[name] for name in self.targets(named))
