"""stylecolor: give a grey photograph the colours of another photograph.

The package is plain PyTorch. Importing it is cheap; its modules import torch when they are used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylecolor.exemplar_colorizer import ExemplarColorizer

__version__ = "0.1.0"
__all__ = ["ExemplarColorizer", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "ExemplarColorizer":
        from stylecolor.exemplar_colorizer import ExemplarColorizer

        return ExemplarColorizer
    raise AttributeError(f"module 'stylecolor' has no attribute {name!r}")
