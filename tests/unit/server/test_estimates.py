"""What a month of an endpoint would cost, and the charts of one that there is, over the whole server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from asking import Answer
from hub_app import Server
from lanza.database import now
from lanza.endpoints import points, store
from lanza.endpoints.estimate import MONTH_HOURS
from lanza.endpoints.records import Point

CONFIG = b'{"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}'


@pytest.fixture
def ana(server: Server) -> str:
    token = server.user("ana")
    server.make(token, "becas", private=True)
    server.commit(token, "ana/becas", **{"config.json": CONFIG})
    return token


def ask(server: Server, token: str, query: str = "", **question: Any) -> Answer:
    return server.ask(f"/api/lanza/estimate{query}", token, method="POST", body=question)


def tree(**changes: Any) -> dict[str, Any]:
    return {"model": {"repository": "ana/becas"}, **changes}


def scaled(least: int, most: int) -> dict[str, Any]:
    return {"scaling": {"minReplica": least, "maxReplica": most}}


def test_a_repository_alone_is_what_a_deployment_would_make_of_it(server: Server, ana: str) -> None:
    found = ask(server, ana, repository="ana/becas", requestsPerDay=86_400, secondsEach=0.5, peak=4).json
    assert (found["instanceType"], found["instanceSize"]) == ("cpu", "x1")
    assert (found["minReplica"], found["maxReplica"]) == (0, 1)
    assert (found["pricePerHour"], found["priceAsOf"]) == (3.6, "2026-11-01")
    assert found["month"]["idle"] == 0
    assert found["month"]["expected"] == pytest.approx(found["month"]["worst"], rel=0.01)
    assert found["month"]["worst"] == pytest.approx(3.6 * MONTH_HOURS)
    suggestion = found["suggestion"]
    assert (suggestion["minReplica"], suggestion["maxReplica"]) == (0, 3)
    assert suggestion["month"]["worst"] == pytest.approx(3 * 3.6 * MONTH_HOURS)
    (said,) = found["warnings"]
    assert said.startswith("at the busiest, about 3 replicas have work, and compute.scaling.maxReplica is 1")


def test_nothing_expected_costs_what_always_runs(server: Server, ana: str) -> None:
    found = ask(server, ana, endpoint=tree(compute=scaled(1, 2))).json
    assert found["month"]["idle"] == found["month"]["expected"] == pytest.approx(3.6 * MONTH_HOURS)
    assert found["month"]["worst"] == pytest.approx(2 * 3.6 * MONTH_HOURS)
    assert found["warnings"] == []
    assert found["budget"] is None


@pytest.mark.parametrize(
    ("budget", "least", "said"),
    [
        ({"amount": 2628, "period": "month"}, 0, None),
        (
            {"amount": 2627, "period": "month"},
            0,
            "the worst case is 2628.00 dollars a month, above the budget",
        ),
        ({"amount": 2627, "period": "month"}, 1, "what is expected is 2628.00 dollars a month, above"),
        ({"amount": 86.4, "period": "day"}, 0, None),
        ({"amount": 86.3, "period": "day"}, 0, "the worst case is 86.40 dollars a day, above the budget of"),
        ({"amount": 50, "period": "total"}, 0, "of 50.00 dollars: the endpoint is paused when that is spent"),
    ],
)
def test_a_worst_case_above_the_budget_is_said(
    server: Server, ana: str, budget: dict[str, Any], least: int, said: str | None
) -> None:
    found = ask(server, ana, endpoint=tree(budget=budget, compute=scaled(least, 1))).json
    assert found["budget"] == budget
    assert len(found["warnings"]) == (said is not None)
    assert said is None or said in found["warnings"][0]


def test_what_is_meant_for_elsewhere_can_be_rehearsed(server: Server, ana: str) -> None:
    cloud = tree(provider={"vendor": "aws", "region": "us-east-1"})
    assert "is not here" in ask(server, ana, endpoint=cloud).json["error"]
    found = ask(server, ana, "?rehearse=1", endpoint=cloud)
    assert "this is a rehearsal" in found.json["warnings"][0]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "send either"),
        ({"repository": "ana/becas", "endpoint": {}}, "send either"),
        ({"repository": "ana/becas", "requestsPerDay": -1}, "per_day is a number from 0 on"),
        ({"repository": "ana/becas", "peak": 0.5}, "peak is a number from 1 on"),
        ({"repository": "ana/becas", "secondsEach": "long"}, "secondsEach"),
        ({"repository": "ana/becas", "color": "blue"}, "color"),
        ({"endpoint": {"model": {}}}, "repository"),
        ({"endpoint": tree(budget={"amount": -1})}, "budget.amount"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(
    server: Server, ana: str, question: dict[str, Any], said: str
) -> None:
    answer = ask(server, ana, **question)
    assert answer.status == 400
    assert said in answer.json["error"]


def test_an_estimate_is_for_those_who_may_read_the_model_and_makes_nothing(server: Server, ana: str) -> None:
    assert ask(server, "", repository="ana/becas").status == 401
    assert ask(server, server.user("eva"), repository="ana/becas").status == 404
    assert ask(server, ana, repository="ana/becas").status == 200
    assert server.ask("/v2/endpoint/ana", ana).json == {"items": []}


# Charts


def chart(server: Server, token: str, query: str = "") -> Answer:
    return server.ask(f"/api/lanza/endpoints/ana/qa/metrics{query}", token)


def put(server: Server, token: str, *minutes_ago: int) -> None:
    server.ask("/v2/endpoint/ana", token, method="POST", body={"name": "qa", **tree()})
    with server.hub.database.writing() as session:
        number = store.get(session, "ana", "qa").id
        this = points.minute_of(now())
        session.add_all(
            Point(
                endpoint_id=number, minute=this - it, requests=2, errors=1, seconds=3.0, slowest=2.5, cost=0.1
            )
            for it in minutes_ago
        )


def test_charts_show_the_last_hour_unless_told_otherwise(server: Server, ana: str) -> None:
    put(server, ana, 1, 30, 90, 60 * 24 * 29)
    found = chart(server, ana).json
    assert found["step"] == 1
    assert [it["requests"] for it in found["points"]] == [2, 2]
    assert found["points"][0] | {"at": ""} == {
        "at": "",
        "requests": 2,
        "errors": 1,
        "seconds": 3.0,
        "slowest": 2.5,
        "replicas": 0,
        "cost": 0.1,
    }
    assert found["since"] <= found["points"][0]["at"] <= found["until"]
    since = (now() - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    wide = chart(server, ana, f"?since={since}&step=1440").json
    assert wide["step"] == 1440
    assert sum(it["requests"] for it in wide["points"]) == 6


def test_charts_are_bounded(server: Server, ana: str) -> None:
    put(server, ana, 1, 60 * 24 * 29)
    whole = chart(server, ana, "?since=1999-01-01T00:00:00Z").json
    assert whole["step"] == -(-points.KEEP_POINTS // timedelta(minutes=points.MOST))
    assert len(whole["points"]) == 2
    assert chart(server, ana, "?since=2999-01-01T00:00:00Z").json["points"] == []


@pytest.mark.parametrize("query", ["?since=yesterday", "?step=0", "?step=1441", "?step=x"])
def test_a_chart_of_what_is_no_time_is_refused(server: Server, ana: str, query: str) -> None:
    put(server, ana)
    assert chart(server, ana, query).status == 400


def test_charts_are_for_those_who_may_call(server: Server, ana: str) -> None:
    assert chart(server, ana).status == 404
    put(server, ana)
    assert chart(server, "").status == 401
    assert chart(server, server.user("eva")).status == 403
