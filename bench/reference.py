"""The vectors that answers are held against, as JSON: texts in on stdin, by length; vectors out, by length.

FP32: the original weights through torch, apart from all code that is measured. INT8: the graph itself, one
text at a time, for there is no other authority on what a quantized graph computes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def by_torch(folder: Path, texts: list[str]) -> list[list[float]]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model(**tokenizer(texts, return_tensors="pt")).last_hidden_state
        vectors = torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)
    rows: list[list[float]] = vectors.tolist()
    return rows


def by_graph(folder: Path, texts: list[str]) -> list[list[float]]:
    from contestants.encoder import OnnxEncoder, make_session

    encoder = OnnxEncoder(folder, make_session(folder, 1))
    return [encoder.embed([text])[0].tolist() for text in texts]


def main() -> None:
    precision, folder, original = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    answer: dict[str, Any] = {
        tokens: by_torch(original, texts) if precision == "fp32" else by_graph(folder, texts)
        for tokens, texts in json.load(sys.stdin).items()
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
