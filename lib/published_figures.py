"""What others published for the retrieval of pairs, with whose it is and on which weights.

None of it was measured here, and none on the weights used here: it stands beside a report's figures, never
among them.
"""

from types import MappingProxyType
from typing import Literal

from lib.report import Published

Side = Literal["left", "right"]

_SAMPLE4GEO = (
    "Sample4Geo (Deuser et al., ICCV 2023): ConvNeXt-B, both sides fine-tuned end to end on the dataset"
)
_SAIL = "SAIL (Zhang et al., CVPR 2025): heads only, on frozen DINOv2-L and NV-Embed-2"
_DINO_TXT = "DINOv3's dino.txt (Siméoni et al., 2025): frozen ViT-L/16, the text side trained on it"
# By dataset, the side that asks, and the metric: percent, as published. Left is the street's picture or the
# picture, right the satellite's tile or the caption, as in `lib.datasets`.
_FIGURES = MappingProxyType(
    {
        ("cvusa", "left", "R@1"): (Published("98.68 %", _SAMPLE4GEO),),
        ("vigor", "left", "R@1"): (Published("77.86 %", f"{_SAMPLE4GEO}, same-area"),),
        ("vigor_cross", "left", "R@1"): (Published("61.09 %", f"{_SAMPLE4GEO}, cross-area"),),
        ("flickr30k", "left", "R@1"): (Published("87.6 %", _SAIL),),
        ("flickr30k", "right", "R@1"): (Published("75.7 %", _SAIL),),
        ("coco_captions", "left", "R@1"): (Published("63.7 %", _DINO_TXT),),
        ("coco_captions", "right", "R@1"): (Published("45.6 %", _DINO_TXT),),
    }
)


def published_figures(dataset: str | None, *, asks: Side, metric: str) -> tuple[Published, ...]:
    """What is known of a dataset's retrieval, or nothing.

    Args:
        dataset: Its name in `lib.datasets`; None for an archive of the user's own.
        asks: The side that the queries are of.
        metric: As the report calls it: "R@1".
    """
    return _FIGURES.get((dataset or "", asks, metric), ())
