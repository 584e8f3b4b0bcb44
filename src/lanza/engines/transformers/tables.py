"""TAPAS: from a table and questions to what the model reads, and from its numbers to cells.

The model held here: question and table are one sequence, each token marked with its row and column. The model
says which cells are meant and, where it was trained to, what to do with them (COUNT, SUM, AVERAGE). Asked in
sequence, a question's answer is marked in the table of the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from lanza.errors import BadRequest, InputTooLong
from lanza.tasks.table_question_answering import TableAnswer

Table = Mapping[str, Sequence[str]]

_SEGMENT, _COLUMN, _ROW, _PREVIOUS = range(4)
"""Of the seven kinds of token types, those that are used here."""
_RANKS: Final = slice(4, 6)
MAX_CHARACTERS: Final = 60_000
"""In all cells, once for each question: TAPAS's tokenizer takes some two seconds for them."""
_CHOSEN: Final = 0.5


def encode(tokenizer: Any, table: Any, asked: Sequence[str], *, limit: int, cut: bool) -> dict[str, Any]:
    """One row of tensors per question. `table` is a frame of strings. ValueError when it does not fit."""
    encoded = tokenizer(
        table=table,
        queries=list(asked),
        padding="longest",
        truncation="drop_rows_to_fit" if cut else "do_not_truncate",
        max_length=limit if cut else None,
        return_tensors="pt",
    )
    length = encoded["input_ids"].shape[1]
    if length > limit:
        raise InputTooLong(tokens=length, limit=limit, what="inputs.table")
    return dict(encoded)


def fitting(table: Any, kinds: Sequence[int], *, limit: int, cut: bool, questions: int) -> Any:
    """The table without the last rows that cannot fit: more than the model can number, or have a token each.

    BadRequest if cutting is not wanted, or there are too many columns. `kinds` are the sizes of the tables of
    token types. The tokenizer would drop the same rows, but one by one, which can take minutes.
    """
    # Numbers are ranked within their column, so a rank may be as high as a row's number.
    most_rows, most_columns = min(kinds[_ROW], *kinds[_RANKS]) - 1, kinds[_COLUMN] - 1
    rows, columns = table.shape
    if columns > most_columns or (rows > most_rows and not cut):
        raise BadRequest(
            f"`inputs.table` has {rows} rows and {columns} columns, and this model reads at most {most_rows} "
            f"rows and {most_columns} columns: send a part of it."
        )
    if rows * columns > limit and not cut:
        raise InputTooLong(tokens=rows * columns, limit=limit, what="inputs.table")
    kept = table.head(min(most_rows, max(1, limit // columns)))
    characters = int(kept.map(len).to_numpy().sum()) * questions
    if characters > MAX_CHARACTERS:
        raise BadRequest(
            f"`inputs.table` with {questions} questions makes {characters} characters to read, and at most "
            f"{MAX_CHARACTERS} are read for one request: shorten the cells, or ask fewer questions at once."
        )
    return kept


def run(model: Any, inputs: Mapping[str, Any], *, sequential: bool) -> list[Any]:
    """The model's outputs, a row each; `sequential` marks each answer for the question after it."""
    if not sequential:
        return [model(**inputs)]
    outputs: list[Any] = []
    types = inputs["token_type_ids"].clone()
    for index in range(len(types)):
        row = {name: tensor[index : index + 1] for name, tensor in inputs.items()}
        output = model(**row | {"token_type_ids": types[index : index + 1]})
        outputs.append(output)
        if index + 1 < len(types):
            chosen = _chosen(output.logits[0], row["attention_mask"][0], types[index])
            types[index + 1, :, _PREVIOUS] = _marks(chosen, types[index + 1])
    return outputs


def answers(
    tokenizer: Any, config: Any, inputs: Mapping[str, Any], outputs: Sequence[Any], table: Any
) -> list[TableAnswer]:
    """An answer per question, in order."""
    data = {name: tensor.cpu() for name, tensor in inputs.items()}
    logits = torch.cat([output.logits for output in outputs]).float().cpu()
    if outputs[0].logits_aggregation is None:
        (cells,) = tokenizer.convert_logits_to_predictions(data, logits)
        return [_answer(table, places, None) for places in cells]
    aggregation = torch.cat([output.logits_aggregation for output in outputs]).float().cpu()
    cells, operations = tokenizer.convert_logits_to_predictions(data, logits, aggregation)
    names = getattr(config, "aggregation_labels", None) or {}
    none = getattr(config, "no_aggregation_label_index", None)
    return [
        _answer(table, places, str(names.get(number, number)), plain=number == none)
        for places, number in zip(cells, operations, strict=True)
    ]


def _answer(
    table: Any, places: Sequence[tuple[int, int]], aggregator: str | None, *, plain: bool = True
) -> TableAnswer:
    cells = [str(table.iat[place]) for place in places]
    text = ", ".join(cells)
    return TableAnswer(
        answer=text if plain or aggregator is None else f"{aggregator} > {text}",
        coordinates=[(int(row), int(column)) for row, column in places],
        cells=cells,
        aggregator=aggregator,
    )


def _chosen(logits: Any, attended: Any, types: Any) -> set[tuple[int, int]]:
    """The (column, row) places, from 1, whose tokens are on average likelier chosen than not."""
    likely = torch.sigmoid(logits.float()) * attended
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    for probability, kinds in zip(likely.tolist(), types.tolist(), strict=True):
        if kinds[_SEGMENT] == 1 and kinds[_COLUMN] > 0 and kinds[_ROW] > 0:
            cells[kinds[_COLUMN], kinds[_ROW]].append(probability)
    return {place for place, values in cells.items() if np.mean(values) > _CHOSEN}


def _marks(chosen: set[tuple[int, int]], types: Any) -> Any:
    marks = [
        int(kinds[_SEGMENT] == 1 and (kinds[_COLUMN], kinds[_ROW]) in chosen) for kinds in types.tolist()
    ]
    return torch.tensor(marks, dtype=types.dtype, device=types.device)
