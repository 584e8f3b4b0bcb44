"""The third peer: FastAPI and transformers, as tutorials write it. Not tuned, for that is the point of it."""

from __future__ import annotations

import os

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer

app = FastAPI()
tokenizer = AutoTokenizer.from_pretrained(os.environ["BENCH_FOLDER"])
model = AutoModel.from_pretrained(os.environ["BENCH_FOLDER"])
model.eval()


class Question(BaseModel):
    inputs: str


@app.post("/predict")
def predict(question: Question) -> list[float]:
    encoded = tokenizer(question.inputs, return_tensors="pt", truncation=True)
    with torch.no_grad():
        hidden = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"].unsqueeze(-1)
    vector = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    answer: list[float] = torch.nn.functional.normalize(vector, dim=-1)[0].tolist()
    return answer


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]))
