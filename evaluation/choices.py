"""The names that an evaluation's settings may take. Imports nothing heavy, so that a wrong one is refused at once."""

PROTOCOLS = ("self", "palette", "random", "auto")
"""self: the target's own colour picture, see `evaluation.pairs.own_reference`; palette: the other picture with the nearest palette;
random: any other picture; auto: none."""
TRAINING_FREE = ("gray", "reference_mean", "reinhard", "welsh", "histogram_matching", "monge_kantorovitch")
"""Methods that need no checkpoint, see `evaluation.methods`."""
OF_CHECKPOINTS = ("transfer", "colorizer", "both", "reconstruction")
"""Methods of which each checkpoint has some."""
METHODS = TRAINING_FREE + OF_CHECKPOINTS
METRICS = ("psnr", "ssim", "lpips", "fid", "ciede2000", "colorfulness", "colorfulness_difference", "histogram_intersection")
"""See `evaluation.metrics` and, for fid, `evaluation.set_metrics`."""
SPLITS = ("train", "val", "test")
PRECISIONS = ("32-true", "bf16-mixed")
"""In which convolutions are computed."""
SEPARATORS = "/=|"
"""Stand between names in tables, and so not in those of checkpoints."""
