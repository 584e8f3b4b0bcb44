"""`push_to_hub` and `from_pretrained`, as tutorials write them, in a process with HF_ENDPOINT set."""

from __future__ import annotations

from pathlib import Path

import tiny
from hubs import User

PUSH = """
import sys
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
model = AutoModelForQuestionAnswering.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model.push_to_hub(sys.argv[2])
tokenizer.push_to_hub(sys.argv[2])
loaded = AutoModelForQuestionAnswering.from_pretrained(sys.argv[2])
words = AutoTokenizer.from_pretrained(sys.argv[2])("hola becas").input_ids
assert words == tokenizer("hola becas").input_ids
import torch
same = [torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values())]
print(len(same), all(same))
"""


def test_a_model_and_its_tokenizer_come_back(ana: User, tmp_path: Path) -> None:
    import sys

    folder = tiny.bert(tmp_path / "qa", task="question-answering")
    done = ana.run(sys.executable, "-c", PUSH, str(folder), f"{ana.name}/becas-qa")
    count, same = done.stdout.split()[-2:]
    assert int(count) > 10
    assert same == "True"
    info = ana.api().model_info(f"{ana.name}/becas-qa")
    assert info.pipeline_tag == "question-answering"
    assert info.safetensors is not None
