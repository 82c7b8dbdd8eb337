"""The `[aligner]` section of a pair archive's catalog entry. Plain data: imported when definitions load."""

from typing import Literal

from pydantic import Field

from lib.sections import Section

Rung = Literal["raw_cosine", "standardised", "whitened", "ridge", "cca", "residual", "naive"]


class AlignerConfig(Section):
    """How the heads of a pair are fitted, and which of them is published."""

    publish: Literal["auto", "raw_cosine", "standardised", "whitened", "ridge", "cca", "residual"] = Field(
        default="auto",
        description="auto: the rung that is best on validation within train; else a rung by name",
    )
    # Few dims lose: of 159 that 80 pairs span, the first 80 retrieve .68 where all retrieve .75.
    dim: int = Field(default=512, ge=2, le=4096, description="most dimensions of the shared space")
    folds: int = Field(
        default=4,
        ge=2,
        le=20,
        description="cross-validation folds by group, where pairs are too few to hold some out once",
    )
    nets: int = Field(default=3, ge=1, le=16, description="residual heads that are averaged")
    hidden: int = Field(default=512, ge=8, le=16384, description="width of a residual head's hidden layer")
    loss: Literal["infonce", "sigmoid"] = Field(
        default="infonce", description="symmetric InfoNCE, or SigLIP's pairwise sigmoid loss"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="of InfoNCE's targets")
    temperature: float = Field(
        default=0.07, gt=0.001, le=1, description="InfoNCE's temperature at the start; it is learned"
    )
    batch: int = Field(default=4096, ge=2, le=65536, description="pairs a batch; all others are negatives")
    hard_negatives: bool = Field(
        default=True,
        description="fill batches with neighbours: on the ground where places are known, and by feature",
    )
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="AdamW's")
    weight_decay: float = Field(default=0.05, ge=0, le=10, description="AdamW's")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="share of a residual head's inputs left out")
    epochs: int = Field(default=60, ge=1, le=10_000, description="most epochs of a residual head")
    patience: int = Field(
        default=8, ge=1, description="epochs without a better validation before training ends"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of folds, batches and weights")
