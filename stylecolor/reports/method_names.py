"""What the methods of an evaluation are called on its page."""

_TITLES = {
    "gray": "Grey",
    "reference_mean": "Reference mean",
    "reinhard": "Reinhard",
    "welsh": "Welsh",
    "histogram_matching": "Histogram matching",
    "monge_kantorovitch": "Monge-Kantorovitch",
    "transfer": "Transfer only",
    "colorizer": "Colorizer only",
    "both": "Both sub-nets",
    "reconstruction": "Reconstruction",
}
_GIVEN = ("target", "reference", "truth")
_TRAINED = ("transfer", "colorizer", "both", "reconstruction")


def method_title(method: str) -> str:
    """The method's name for people; that of its checkpoint, if several are compared, comes first."""
    checkpoint, _, name = method.rpartition("/")
    title = _TITLES.get(name, name)
    return f"{checkpoint}: {title.lower()}" if checkpoint else title


def column_title(name: str) -> str:
    """Of a gallery's column: a method, or what it was given."""
    return name.capitalize() if name in _GIVEN else method_title(name)


def sees_truth(method: str) -> bool:
    """Whether it is shown what it is to find, so that it does not compete."""
    return method.rpartition("/")[2] == "reconstruction"


def is_trained(method: str) -> bool:
    """Whether it is one of the checkpoint's, and not training-free."""
    return method.rpartition("/")[2] in _TRAINED
