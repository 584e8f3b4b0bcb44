"""The ONNX graph as the peers serve it: the same session options, tokenizer and pooling for each of them.

Written to be fast (the tokenizer's batch call, one padded array, pooling by one matrix product), so that what
a peer loses against Lanza it does not lose here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class OnnxEncoder:
    """Texts to unit vectors [texts, dimensions], with a session that others may share."""

    def __init__(self, folder: Path, session: Any) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        self.session = session

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        feeds = self.feeds(texts)
        return pool(self.session.run(["last_hidden_state"], feeds)[0], feeds["attention_mask"])

    def feeds(self, texts: Sequence[str]) -> dict[str, Any]:
        encodings = self.tokenizer.encode_batch_fast(list(texts))
        return {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], dtype=np.int64),
        }


def make_session(folder: Path, threads: int) -> Any:
    """An onnxruntime session that runs each call on `threads` threads, the caller's included."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def pool(hidden: Any, mask: Any) -> npt.NDArray[np.float32]:
    """The mean over the tokens that are text, as unit vectors: [texts, tokens, dims] to [texts, dims]."""
    weights = mask.astype(np.float32)
    summed = (weights[:, None, :] @ hidden)[:, 0]
    vectors: npt.NDArray[np.float32] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return vectors
