"""The original design's loop, which speed is held against: all frames decoded, one at a time embedded."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from lib.embedding import backbones, runtimes

SIZE_PX = 224


class OriginalLoop:
    """OpenCV reads every frame; each int(fps)-th goes through PIL and eager float32 torch by itself."""

    def __init__(self, spec: str) -> None:
        backbone = backbones.resolve(spec)
        self._network = backbones.load(backbone)
        self._mean = torch.tensor(backbone.mean).view(3, 1, 1)
        self._std = torch.tensor(backbone.std).view(3, 1, 1)
        torch.set_num_threads(runtimes.usable_threads())

    def run(self, film: Path) -> tuple[np.ndarray, np.ndarray]:
        """The film's frame vectors (frames, dim) and their mean, float32: all that the design makes of it."""
        vectors = np.vstack([self.embed(picture)[0] for picture in frames_of(film)])
        return vectors, vectors.mean(axis=0)

    @torch.inference_mode()
    def embed(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CLS and patch vectors of an RGB picture of any size; (dim,) and (h, w, patch dim) float32."""
        resized = Image.fromarray(picture).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        cls, patches = self._features(np.array(resized)[None])
        return cls[0].numpy(), patches[0].numpy()

    @torch.inference_mode()
    def embed_batch(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CLS and mean patch vectors of (n, 224, 224, 3) RGB: eager still, but as many as are given."""
        cls, patches = self._features(pictures)
        return cls.numpy(), patches.mean((1, 2)).numpy()

    def _features(self, pictures: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        cls, patches, _ = self._network((values - self._mean) / self._std)
        return cls, patches


def frames_of(film: Path) -> Iterator[np.ndarray]:
    """Every int(fps)-th frame, RGB; `read` decodes all of them and turns all of them into pixels."""
    capture = cv2.VideoCapture(str(film))
    step = max(1, int(capture.get(cv2.CAP_PROP_FPS)))
    number = 0
    while True:
        is_there, picture = capture.read()
        if not is_there:
            break
        if number % step == 0:
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        number += 1
    capture.release()
