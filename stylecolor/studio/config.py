"""The settings of the studio."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from stylecolor.errors import check_range

AUTH_VARIABLE = "STYLECOLOR_STUDIO_AUTH"
"""The environment variable that may hold what `--auth` takes, since other users of a machine can read command lines."""
MAX_MEGAPIXELS = 100.0
"""Less than what the other commands take: several visitors' pictures are in memory."""


@dataclass(frozen=True)
class StudioSettings:
    """What the options of `stylecolor studio` say.

    Raises ValueError for values that cannot be, and for an address that others can reach without a password.
    """

    checkpoint: Path | None = None
    """A checkpoint, a folder of `save_pretrained`, or the name of published weights; None takes the newest joint run's."""
    references: Path | None = None
    """A folder of pictures that visitors may choose as references."""
    host: str = "127.0.0.1"
    port: int = 7860
    """0 takes any free one."""
    auth: str | None = None
    """`user:password`, which every request has to bring."""
    no_auth: bool = False
    """Lets everybody in who reaches the address."""
    max_megapixels: float = MAX_MEGAPIXELS
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_range("--port", self.port, 0, 65535)
        if not self.host:
            raise ValueError("--host: is empty; leave it out for 127.0.0.1, or name an address of this machine")
        check_range("--max-megapixels", self.max_megapixels, above=0)
        if self.references is not None and not self.references.is_dir():
            raise ValueError(f"--references {self.references}: no such folder")
        if self.auth is not None:
            user, _, password = self.auth.partition(":")
            if not user or not password:
                # the value may be a secret
                raise ValueError(f"--auth (or {AUTH_VARIABLE}) must be of the form user:password")
            if self.no_auth:
                raise ValueError(f"--auth (or {AUTH_VARIABLE}) and --no-auth exclude each other; leave one out")
        elif not self.is_loopback and not self.no_auth:
            raise ValueError(
                f"--host {self.host}: others could reach it without a password; set {AUTH_VARIABLE}=user:password (or --auth), "
                "or say that everybody may with --no-auth"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach the host."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def max_pixels(self) -> int:
        """Larger pictures are refused."""
        return int(self.max_megapixels * 1e6)
