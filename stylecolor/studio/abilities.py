"""What the networks can do, as far as the page depends on it: checkpoints of the transfer and the colorizer stage hold one sub-net."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylecolor.studio.model import StudioModel


@dataclass(frozen=True)
class Abilities:
    """Those of the joint stage unless told otherwise."""

    follow_references: bool = True
    color_alone: bool = True
    """Whether they choose colours where there is no reference."""
    take_hints: bool = True

    @property
    def limits(self) -> list[str]:
        """What they cannot do, in sentences; empty where they can do everything."""
        sentences = {
            "They choose all colours themselves and follow no reference, so references, regions and Stylize are switched off.": (
                self.follow_references
            ),
            "They need a reference for each photograph and film.": self.color_alone,
            "They take no colour hints.": self.take_hints,
        }
        return [sentence for sentence, able in sentences.items() if not able]


def abilities_of(model: "StudioModel") -> Abilities:
    """Those of a studio's networks; all, until these are there: what is dropped meanwhile waits for them."""
    return Abilities(model.has_transfer, model.colors_alone, model.takes_hints) if model.state == "ready" else Abilities()
