"""Networks whose weights are to be loaded: their random initialisation would be thrown away, and takes longer than the loading."""

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class Uninitialized(TorchFunctionMode):
    """Within it, `torch.nn.init` leaves tensors as they are, and draws no random number.

    Unlike `torch.nn.utils.skip_init` it makes whole networks, keeps their buffers, and needs no meta device, whose import takes half a
    second.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call anything but initialisers."""
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
