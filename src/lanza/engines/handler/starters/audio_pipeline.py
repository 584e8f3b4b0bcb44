"""ABOUT"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import soundfile
import soxr
import torch
from transformers import pipeline

TASK = "automatic-speech-recognition"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.pipeline = pipeline(TASK, model=path)
        self.pipeline.model.eval()

    def __call__(self, data: dict[str, Any]) -> Any:
        """A recording sent as such, or {"inputs": base64, "parameters": {...}} -> what was heard in it."""
        sound = data["inputs"]
        if isinstance(sound, str):
            sound = base64.b64decode(sound)
        samples, rate = soundfile.read(BytesIO(sound), dtype="float32", always_2d=True)
        wanted = self.pipeline.feature_extractor.sampling_rate
        samples = soxr.resample(samples.mean(axis=1), rate, wanted)
        with torch.inference_mode():
            return self.pipeline(samples, **(data.get("parameters") or {}))
