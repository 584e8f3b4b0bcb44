"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LIMIT = 2048  # tokens of prompt and answer together
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, str]]:
        """{"inputs": text, "parameters": {"max_new_tokens": 50}} -> how it goes on.

        `inputs` may be a list of {"role", "content"} for a model with a chat template; parameters go to
        `generate`, and `return_full_text` puts the prompt before the answer.
        """
        inputs = data["inputs"]
        parameters = {"max_new_tokens": 50, **(data.get("parameters") or {})}
        full = parameters.pop("return_full_text", False)
        prompt = inputs if isinstance(inputs, str) else self.render(inputs)
        tokens = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=isinstance(inputs, str))
        ids, mask = tokens["input_ids"].to(DEVICE), tokens["attention_mask"].to(DEVICE)
        if ids.shape[1] + parameters["max_new_tokens"] > LIMIT:
            raise ValueError(
                f"{ids.shape[1]} tokens and max_new_tokens are over the model's {LIMIT}: send less"
            )
        with torch.inference_mode():
            made = self.model.generate(input_ids=ids, attention_mask=mask, **parameters)
        answer = self.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        return [{"generated_text": prompt + answer if full else answer}]

    def render(self, messages: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
