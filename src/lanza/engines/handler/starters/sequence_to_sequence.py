"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

LIMIT = 512  # tokens: longer texts are cut
KEY = "generated_text"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, str]]:
        """{"inputs": text or list of texts, "parameters": {"max_new_tokens": 60}} -> the text made of each.

        `src_lang` and `tgt_lang` are for models of many languages; other parameters go to `generate`.
        """
        inputs = data["inputs"]
        parameters = dict(data.get("parameters") or {})
        parameters |= parameters.pop("generate_parameters", None) or {}
        return [
            {KEY: self.rewrite(text, **parameters)}
            for text in (inputs if isinstance(inputs, list) else [inputs])
        ]

    def rewrite(self, text: str, src_lang: str = "", tgt_lang: str = "", **parameters: Any) -> str:
        if src_lang:
            self.tokenizer.src_lang = src_lang
        if tgt_lang:
            parameters["forced_bos_token_id"] = self.tokenizer.convert_tokens_to_ids(tgt_lang)
        tokens = self.tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt").to(DEVICE)
        names = [name for name in ("input_ids", "attention_mask") if name in tokens]
        with torch.inference_mode():
            made = self.model.generate(**{name: tokens[name] for name in names}, **parameters)
        return str(self.tokenizer.decode(made[0], skip_special_tokens=True))
