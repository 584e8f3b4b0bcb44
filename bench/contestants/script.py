"""The least that could answer, for cold starts: import onnxruntime and tokenizers, load, answer, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, text = Path(sys.argv[1]), sys.argv[2]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
encoding = tokenizer.encode(text)
feeds = {
    "input_ids": np.array([encoding.ids]),
    "attention_mask": np.array([encoding.attention_mask]),
    "token_type_ids": np.array([encoding.type_ids]),
}
vector = session.run(["last_hidden_state"], feeds)[0][0].mean(axis=0)
print(json.dumps((vector / np.linalg.norm(vector)).tolist()), flush=True)
