"""Specs that anybody may send: read, or refused in words; never anything else."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza import engines
from lanza.endpoints.reading import merged, read_spec
from lanza.endpoints.spec import EndpointSpec, Security, kept
from lanza.errors import BadRequest, NotYet
from lanza.models.choice import ENGINES

FIELDS: Final = [
    *(it.encode_name for it in msgspec.structs.fields(EndpointSpec)),
    *("repository", "revision", "image", "command", "env", "secrets", "scaling", "minReplica", "maxReplica"),
    *("measure", "scaleToZeroTimeout", "amount", "period", "perToken", "custom", "huggingface", "port"),
]
numbers: Final = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 1, 2**63])
leaves: Final = st.none() | st.booleans() | numbers | st.text(max_size=20) | st.binary(max_size=5)
keys: Final = st.sampled_from(FIELDS) | st.text(max_size=5)


def trees(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(keys, one, max_size=4), max_leaves=12
    )


def tree(**changes: Any) -> dict[str, Any]:
    return {"name": "becas", "model": {"repository": "ana/becas"}, **changes}


def outcome(given_tree: Any) -> EndpointSpec | None:
    try:
        return read_spec(given_tree)
    except (BadRequest, NotYet) as error:
        refused = error.message
    assert refused
    assert refused.isprintable()
    return None


@given(trees(keys | st.integers()))
def test_any_tree_is_read_or_refused(given_tree: Any) -> None:
    outcome(given_tree)


@given(st.sampled_from(FIELDS), trees(keys))
def test_any_value_of_any_field_is_read_or_refused(name: str, value: Any) -> None:
    for changed in (
        tree(**{name: value}),
        tree(model={"repository": "ana/becas", name: value}),
        tree(compute={name: value}),
        tree(compute={"scaling": {name: value}}),
        tree(model={"repository": "ana/becas", "image": {"custom": {name: value}}, "command": ["x"]}),
    ):
        spec = outcome(changed)
        if spec is not None:
            text = json.dumps(kept(spec))
            assert json.dumps(kept(read_spec(json.loads(text)))) == text


scalings: Final = st.builds(
    lambda low, more: {"minReplica": low, "maxReplica": low + more}, st.integers(0, 50), st.integers(1, 50)
)
zones: Final = st.integers(-840, 840).map(lambda it: timezone(timedelta(minutes=it)))
specs: Final = st.fixed_dictionaries(
    {"name": st.from_regex("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)},
    optional={
        "type": st.sampled_from([str(it) for it in Security]),
        "tags": st.lists(st.text(max_size=8), max_size=3),
        "budget": st.fixed_dictionaries(
            {"amount": st.floats(0.01, 1e6)}, optional={"period": st.sampled_from(["day", "month", "total"])}
        ),
        "expires": st.datetimes(
            min_value=datetime(1970, 1, 1), max_value=datetime(9998, 12, 31), timezones=zones
        ).map(datetime.isoformat),
        "retry": st.booleans(),
        "deadline": st.floats(0.1, 1e6),
        "concurrency": st.none() | st.integers(1, 1000),
        "compute": st.fixed_dictionaries({}, optional={"scaling": scalings}),
    },
).map(lambda it: {**it, "model": {"repository": "ana/becas"}})


@given(specs)
def test_what_is_kept_is_read_as_it_was(given_tree: dict[str, Any]) -> None:
    spec = read_spec(given_tree)
    assert read_spec(json.loads(json.dumps(kept(spec)))) == spec


objects: Final = st.dictionaries(st.sampled_from(["a", "b", "env", "image"]), st.integers(), max_size=3)
changes: Final = st.recursive(
    st.none() | st.integers(),
    lambda one: st.dictionaries(st.sampled_from(["a", "b", "env", "image"]), one, max_size=3),
    max_leaves=10,
).filter(lambda it: isinstance(it, dict))


@given(changes, changes)
def test_a_change_changes_what_it_names_alone(before: dict[str, Any], change: dict[str, Any]) -> None:
    copy = json.loads(json.dumps([before, change]))
    result = merged(before, change)
    assert [before, change] == copy
    for name in before.keys() - change.keys():
        assert result[name] == before[name]
    for name, value in change.items():
        if value is None:
            assert name not in result
        elif name in ("env", "image") or not isinstance(value, dict):
            assert result[name] == value
    assert merged(result, change) == result
    assert merged(before, {}) == before


def test_a_change_of_one_number_keeps_its_neighbours() -> None:
    before = kept(read_spec(tree(compute={"scaling": {"minReplica": 1, "maxReplica": 3}})))
    spec = read_spec(merged(before, {"compute": {"scaling": {"maxReplica": 5}}}))
    assert (spec.compute.scaling.min_replica, spec.compute.scaling.max_replica) == (1, 5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([], "expected `object`, got `array`"),
        ({}, "missing required field `name`"),
        (tree(name="Becas"), "small letters"),
        (tree(name="becas\n"), "small letters"),
        (tree(name="a" * 65), "1 to 64"),
        (tree(nmae="x"), "nmae"),
        (tree(model={"repository": "becas"}), "namespace/name"),
        (tree(model={"repository": "ana/becas", "env": {"1A": "x"}}), "'1A'"),
        (tree(model={"repository": "ana/becas", "env": {"LANZA_HOME": "x"}}), "LANZA_HOME"),
        (tree(model={"repository": "ana/becas", "env": {"A": "\0"}}), "the value of A"),
        (tree(model={"repository": "ana/becas", "env": {f"A{n}": "" for n in range(201)}}), "200"),
        (tree(model={"repository": "ana/becas", "image": {}}), "one entry"),
        (tree(model={"repository": "ana/becas", "image": {"tgi": {}}}), "no containers"),
        (tree(model={"repository": "ana/becas", "image": {"custom": {}}}), "which program"),
        (tree(model={"repository": "ana/becas", "command": ["x"]}), "custom image"),
        (
            tree(model={"repository": "ana/becas", "command": ["x"], "image": {"custom": {"port": 0}}}),
            "1 to 65535",
        ),
        (
            tree(model={"repository": "ana/becas", "command": ["x"], "image": {"custom": {"port": "a"}}}),
            "custom",
        ),
        (tree(compute={"scaling": {"minReplica": 3, "maxReplica": 2}}), "3 and 2"),
        (tree(compute={"scaling": {"minReplica": -1}}), "minReplica"),
        (tree(compute={"scaling": {"maxReplica": 0}}), "maxReplica"),
        (tree(compute={"scaling": {"maxReplica": 101}}), "maxReplica"),
        (tree(compute={"scaling": {"scaleToZeroTimeout": 0}}), "minutes"),
        (tree(compute={"scaling": {"scaleToZeroTimeout": float("nan")}}), "minutes"),
        (tree(compute={"scaling": {"scaleDownAfter": -1}}), "scaleDownAfter"),
        (tree(compute={"scaling": {"measure": {"luck": 1}}}), "pendingRequests"),
        (tree(compute={"scaling": {"measure": {}}}), "one entry"),
        (tree(compute={"scaling": {"measure": {"hardwareUsage": 0}}}), "more than 0"),
        (tree(compute={"scaling": {"measure": {"hardwareUsage": float("nan")}}}), "more than 0"),
        (tree(compute={"scaling": {"measure": {"hardwareUsage": float("inf")}}}), "more than 0"),
        (tree(budget={"amount": -1}), "dollars"),
        (tree(budget={"amount": float("nan")}), "dollars"),
        (tree(budget={"amount": 1, "period": "week"}), "week"),
        (tree(expires="2027-01-01T00:00:00"), "zone"),
        (tree(expires="soon"), "expires"),
        (tree(expires="9999-12-31T23:59:59-12:00"), "9999"),
        (tree(expires="0001-01-01T00:00:00+12:00"), "year 1"),
        (tree(deadline=0), "deadline"),
        (tree(concurrency=0), "concurrency"),
        (tree(rateLimit={"perToken": -1}), "perToken"),
        (tree(route={"domain": "x.org"}), "proxy"),
        (tree(webhook="ftp://x"), "webhook"),
        (tree(webhook="https:///hook"), "webhook"),
        (tree(compute={"scaling": {"measure": {"hardwareUsage": 101}}}), "percent"),
        (tree(model={"repository": "ana/becas", "engine": "onxx"}), "onnx, transformers, handler"),
        (tree(model={"repository": "ana/becas", "task": "clasificar"}), "text-classification"),
        (tree(model={"repository": "ana/becas", "env": {"A": "1"}, "secrets": {"A": "2"}}), "one of them"),
        (tree(allowedTokens=["leo", "*"]), "'*'"),
        (tree(allowedTokens=["leo/ci/x"]), "'leo/ci/x'"),
        (tree(cors=["app.example.org"]), "'app.example.org'"),
        (tree(cors=["https://*.example.org"]), "example.org"),
        (tree(cors=["https://app.example.org/page"]), "/page"),
        (tree(cors=["null"]), "'null'"),
        (tree(type="secret"), "`type`"),
    ],
)
def test_what_is_wrong_is_named(changed: Any, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_spec(changed)
    assert said in caught.value.message


def test_what_callers_and_engines_are_called() -> None:
    read_spec(
        tree(
            allowedTokens=["leo", "eva/my token"],
            cors=["*", "https://app.example.org:8443", "http://[::1]:3000/", "chrome-extension://abc"],
        )
    )
    for name in engines.ENGINES:
        read_spec(tree(model={"repository": "ana/becas", "engine": name, "task": "custom"}))
    assert set(ENGINES) == set(engines.ENGINES)


def test_a_safety_policy_is_to_come() -> None:
    with pytest.raises(NotYet, match="safety"):
        read_spec(tree(safety={"level": "high"}))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("text-clasification", "Did you mean 'text-classification'?"),
        ("Translation", "Did you mean 'translation'?"),
        ("qqqq", "there are: audio-classification, "),
    ],
)
def test_a_task_that_nobody_serves_is_refused_with_the_nearest(task: str, said: str) -> None:
    with pytest.raises(BadRequest, match=r"model\.task: there is no task") as caught:
        read_spec({"name": "qa", "model": {"repository": "ana/qa", "task": task}})
    assert said in str(caught.value)


@pytest.mark.parametrize("task", ["custom", "question-answering", None])
def test_the_task_may_be_a_handlers_or_left_open(task: str | None) -> None:
    assert read_spec({"name": "qa", "model": {"repository": "ana/qa", "task": task}}).model.task == task
