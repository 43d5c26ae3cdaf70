"""The norm of all gradients."""

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


def gradient_norm(module: torch.nn.Module) -> Float[Tensor, ""]:
    """The Euclidean norm of all gradients together, on their device."""
    return get_total_norm([parameter.grad for parameter in module.parameters() if parameter.grad is not None])


class GradientNorm(Callback):
    """Logs `gradient_norm`, before clipping, every `log_every_n_steps` steps; no device is waited for."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Only where a row of metrics is due."""
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # pyright: ignore[reportAttributeAccessIssue]
            pl_module.log("gradient_norm", gradient_norm(pl_module))
