"""The HTTP adapter against a real server on the loopback: what it answers, and everything it does wrong."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from guard.egress import Egress
from guard.redaction import Redactor
from registry.documents import RuntimeBinding
from runtime.connectors.http import HttpSkills
from runtime.protocol import LooksUp, is_idempotent
from tests.runtime.effects.otherside import call_for
from tests.runtime.effects.system import KEY, System, binding, running, skills

MEGABYTE = 1_048_576


@pytest.fixture(scope="module")
def server() -> Iterator[System]:
    with running() as system:
        yield system


@pytest.fixture
def system(server: System) -> System:
    server.booked.clear()
    server.received.clear()
    server.headers.clear()
    server.connections.clear()
    server.most_at_once = server.sent_bytes = 0
    server.delay_s, server.knows_keys = 0.0, True
    return server


@pytest.fixture
def table(tmp_path: Path) -> Iterator[HttpSkills]:
    with skills(tmp_path) as found:
        yield found


def run(
    table: HttpSkills,
    bound: RuntimeBinding,
    keys: list[str] | None = None,
    *,
    timeout_ms: int | None = None,
    **arguments: list[Any],
) -> pl.DataFrame:
    keys = keys or ["k-1"]
    skill = table.find("SK-TEST-001", bound)
    assert skill is not None
    call = replace(call_for(keys, **arguments), binding=bound, keys=keys, timeout_ms=timeout_ms)
    return skill.run(call)


def only(result: pl.DataFrame) -> dict[str, Any]:
    (row,) = result.iter_rows(named=True)
    return row


# What is asked and answered


def test_arguments_become_a_body_and_the_answer_the_output(system: System, table: HttpSkills) -> None:
    """A booking would arrive without its amount."""
    done = run(table, binding(system, idempotency_header="Idempotency-Key"), ["k-1", "k-2"], amount=[1, 2])
    assert system.received == [{"amount": 1}, {"amount": 2}] or system.received == [{"amount": 2}, {"amount": 1}]
    assert [json.loads(output)["booked"] for output in done["output"]] == ["k-1", "k-2"]
    assert done["system"].to_list() == ["books", "books"]
    assert done["error_code"].to_list() == [None, None]
    assert json.loads(done["output"][0])["amount"] == 12.5


def test_a_binding_maps_arguments_and_answer(system: System, table: HttpSkills) -> None:
    """A system with names of its own could not be bound."""
    bound = binding(system, "/book/{order}", body={"total": "amount"}, output={"who": "person.name"})
    done = only(run(table, bound, order=["PO 1/2"], amount=[7]))
    assert (system.received, done["output"]) == ([{"total": 7}], '{"who":"Ada"}')


def test_a_path_cannot_be_left_by_an_argument(system: System, table: HttpSkills) -> None:
    """An argument from an invoice would choose what is called."""
    bound = binding(system, "/says/{order}")
    for value in (None, "", "..", ".", True, {"a": 1}, 1.5):
        assert only(run(table, bound, order=[value]))["error_code"] == "BAD_INPUT"
    assert system.headers == []
    run(table, binding(system, "/book/{order}"), order=["../admin?x=1#y"])
    assert system.received == [{"order": "../admin?x=1#y"}]


def test_numbers_keep_their_digits(system: System, table: HttpSkills) -> None:
    """An amount of seventeen digits would be booked rounded."""
    bound = binding(system, "/book")
    assert only(run(table, bound, amount=[Decimal("12.50")]))["error_code"] is None
    assert system.received == [{"amount": 12.5}]


def test_what_the_schema_marks_is_redacted(system: System, table: HttpSkills) -> None:
    """A name that a system answers would lie in the journal and the lake."""
    marked = {"properties": {"person": {"properties": {"name": {"type": "string", "x-pii": True}}}}}
    done = only(run(table, binding(system, answer=marked)))
    assert json.loads(done["output"])["person"]["name"] == Redactor(KEY).token("Ada")
    assert "Ada" not in done["output"]


def test_no_more_requests_are_under_way_than_agreed(system: System, tmp_path: Path) -> None:
    """A batch of fifty thousand would fall upon the other side at once."""
    with skills(tmp_path, in_flight=7) as table:
        bound = binding(system, "/slow", idempotency_header="Idempotency-Key")
        done = run(table, bound, [f"k-{number}" for number in range(40)])
    assert done["error_code"].null_count() == 40
    assert system.most_at_once == 7
    assert len(system.connections) == 7  # and each connection is used again


def test_what_may_not_be_repeated_goes_over_a_fresh_connection(system: System, tmp_path: Path) -> None:
    """A connection closed in the meantime would leave an effect unknown that was never sent."""
    with skills(tmp_path, in_flight=1) as table:
        run(table, binding(system), ["k-1", "k-2", "k-3"])
    assert len(system.connections) == 3


# What goes wrong


def test_a_system_that_is_not_there_was_not_reached(table: HttpSkills, system: System) -> None:
    """An effect that never left would be parked for a person."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bound = binding(system).model_copy(update={"endpoint": f"http://127.0.0.1:{free.getsockname()[1]}"})
        assert only(run(table, bound))["error_code"] == "CONNECTIVITY"


def test_a_hanging_system_times_out_and_the_others_go_on(system: System, table: HttpSkills) -> None:
    """One system that never answers would hold a batch for ever."""
    hanging = only(run(table, binding(system, "/hang"), timeout_ms=100))
    assert (hanging["error_code"], hanging["output"]) == ("TIMEOUT", None)
    assert 100 <= hanging["latency_ms"] < 10_000
    assert only(run(table, binding(system)))["error_code"] is None


def test_a_connection_that_breaks_off_is_uncertain(system: System, table: HttpSkills) -> None:
    """A booking whose answer was lost would be taken for one that was not made."""
    assert only(run(table, binding(system, "/cut")))["error_code"] == "REMOTE_FAULT"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_INPUT"),
        (401, "AUTH"),
        (403, "AUTH"),
        (404, "NOT_FOUND"),
        (408, "RATE_LIMITED"),
        (409, "DUPLICATE"),
        (418, "REJECTED"),
        (422, "BAD_INPUT"),
        (429, "RATE_LIMITED"),
        (500, "REMOTE_FAULT"),
        (502, "REMOTE_FAULT"),
        (503, "RATE_LIMITED"),
        (504, "REMOTE_FAULT"),
    ],
)
def test_a_status_becomes_a_code_of_the_taxonomy(system: System, table: HttpSkills, status: int, code: str) -> None:
    """What another attempt would mend would fail for good, or the other way round."""
    failed = only(run(table, _with_query(binding(system, "/answer"), f"status={status}")))
    assert (failed["error_code"], failed["output"]) == (code, None)
    assert f"{status}" in failed["error_message"]
    assert "secret reason" not in failed["error_message"]


def _with_query(bound: RuntimeBinding, query: str) -> RuntimeBinding:
    """Return the binding with a query, which a document's path may not hold."""
    assert bound.http is not None
    http = bound.http.model_copy(update={"path": f"{bound.http.path}?{query}"})
    return bound.model_copy(update={"http": http})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1, "a": 2}',
        "[1]",
        "7",
        "null",
        '"text"',
        "<html>",
        '{"a": 1} x',
    ],
)
def test_an_answer_that_is_no_json_object_is_refused(system: System, table: HttpSkills, text: str) -> None:
    """NaN would spread through sums, and a duplicate member would mean one thing here and another there."""
    answered = only(run(table, _with_query(binding(system, "/says"), f"text={quote(text)}")))
    assert answered["error_code"] == (None if text == "" else "SCHEMA_MISMATCH")
    assert answered["output"] == ("{}" if text == "" else None)


def test_a_compressed_answer_is_refused(system: System, table: HttpSkills) -> None:
    """A few bytes would unpack to more than the memory holds."""
    assert only(run(table, binding(system, "/gzip")))["error_code"] == "SCHEMA_MISMATCH"


@pytest.mark.parametrize("how", ["large", "chunked"])
def test_a_huge_answer_is_refused_without_reading_it(system: System, table: HttpSkills, how: str) -> None:
    """An answer of 100 MB would fill the memory of the engine, 200 times at once."""
    refused = only(run(table, binding(system, f"/{how}")))
    assert refused["error_code"] == "RESPONSE_TOO_LARGE"
    assert system.sent_bytes < 30 * MEGABYTE  # what lies in sockets' buffers, and not what it wanted to send


def test_an_answer_may_be_as_large_as_agreed(system: System, table: HttpSkills) -> None:
    """A bound that is one off refuses what fits."""
    text = '{"a":"' + "x" * 100 + '"}'
    for bound, code in ((len(text), None), (len(text) - 1, "RESPONSE_TOO_LARGE")):
        asked = _with_query(binding(system, "/says", max_bytes=bound), f"text={quote(text)}")
        assert only(run(table, asked))["error_code"] == code


# Where it may go


def test_without_a_policy_nothing_leaves(system: System, tmp_path: Path) -> None:
    """A new installation would reach whatever a binding names."""
    with skills(tmp_path, egress=Egress()) as table:
        denied = only(run(table, binding(system)))
    assert denied["error_code"] == "EGRESS_DENIED"
    assert system.headers == []


def test_a_redirect_to_where_it_may_not_go_is_refused(system: System, table: HttpSkills) -> None:
    """An allowed host would send the platform to the metadata service of its machine."""
    for target in ("http://169.254.169.254/latest", "https://elsewhere.example.com/", "file:///etc/passwd"):
        denied = only(run(table, _with_query(binding(system, "/redirect"), f"to={target}")))
        assert denied["error_code"] == "EGRESS_DENIED", target


def test_a_redirect_to_an_allowed_place_keeps_method_and_body(system: System, table: HttpSkills) -> None:
    """A system that moved would get an empty request."""
    done = only(run(table, _with_query(binding(system, "/redirect"), f"to={system.url}/book"), amount=[1]))
    assert done["error_code"] is None
    assert system.received == [{"amount": 1}, {"amount": 1}]


def test_a_redirect_does_not_turn_an_effect_into_a_question(system: System, table: HttpSkills) -> None:
    """A POST that becomes a GET succeeds and books nothing."""
    refused = only(run(table, _with_query(binding(system, "/moved"), f"to={system.url}/book")))
    assert refused["error_code"] == "REJECTED"


def test_a_circle_of_redirects_ends(system: System, table: HttpSkills) -> None:
    """Two hosts that point at each other would hold a batch for ever."""
    target = f"{system.url}/redirect?to="
    circle = quote(target + quote(target + quote(target + quote(target + quote(target + quote(target))))))
    refused = only(run(table, _with_query(binding(system, "/redirect"), f"to={circle}")))
    assert refused["error_code"] in ("REJECTED", "EGRESS_DENIED")
    assert len(system.headers) <= 6


def test_a_name_that_leads_inside_is_denied_after_its_look_up(
    table: HttpSkills, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns a listed name could point it at the inner network."""
    real = socket.getaddrinfo

    def look_up(host: str, port: Any, *rest: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "erp.example.com" else host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    bound = RuntimeBinding(adapter="http", endpoint="https://erp.example.com", http={})  # type: ignore[arg-type]
    with skills(tmp_path, egress=Egress.from_policies([{"hosts": ["erp.example.com"]}])) as listed:
        denied = only(run(listed, bound))
    assert denied["error_code"] == "EGRESS_DENIED"
    assert "127.0.0.1" in denied["error_message"]


# Secrets


def test_a_secret_is_sent_and_nowhere_kept(
    system: System, table: HttpSkills, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token would lie in the journal, readable by all who read it."""
    monkeypatch.setenv("BOOKS_TOKEN", "t0p-s3cret")
    bound = binding(system, auth={"secret_ref": "env:BOOKS_TOKEN"})
    done = run(table, bound)
    assert system.headers[0]["Authorization"] == "Bearer t0p-s3cret"
    assert "t0p-s3cret" not in f"{done.to_dicts()}{caplog.text}"
    echoed = only(run(table, binding(system, "/echo", auth={"secret_ref": "env:BOOKS_TOKEN"})))
    assert (echoed["error_code"], echoed["output"]) == ("SCHEMA_MISMATCH", None)


def test_a_secret_does_not_follow_a_redirect_to_another_host(
    system: System, table: HttpSkills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An allowed host could collect the token of another."""
    monkeypatch.setenv("BOOKS_TOKEN", "t0p-s3cret")
    elsewhere = system.url.replace("127.0.0.1", "localhost")
    bound = binding(system, "/redirect", auth={"secret_ref": "env:BOOKS_TOKEN"})
    only(run(table, _with_query(bound, f"to={elsewhere}/book")))
    assert ["Authorization" in headers for headers in system.headers] == [True, False]


def test_a_secret_that_is_missing_is_named_by_its_reference(system: System, table: HttpSkills) -> None:
    """Somebody would look for the fault at the other side."""
    failed = only(run(table, binding(system, auth={"secret_ref": "env:NOT_THERE"})))
    assert failed["error_code"] == "SECRET_UNAVAILABLE"
    assert "env:NOT_THERE" in failed["error_message"]
    assert system.headers == []


def test_a_header_of_its_own_carries_the_secret_as_it_is(
    system: System, table: HttpSkills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that asks for X-Api-Key could not be bound."""
    monkeypatch.setenv("BOOKS_TOKEN", "t0p-s3cret")
    run(table, binding(system, auth={"secret_ref": "env:BOOKS_TOKEN"}, auth_header="X-Api-Key"))
    assert system.headers[0]["X-Api-Key"] == "t0p-s3cret"


# What the adapter promises


def test_it_promises_only_what_the_binding_declares(system: System, table: HttpSkills) -> None:
    """An effect would be repeated at a system that does not know keys."""
    kinds = [
        table.find("SK-1", binding(system, **declared))
        for declared in ({}, {"idempotency_header": "Idempotency-Key"}, {"look_up": "/key/{key}"}, {"method": "GET"})
    ]
    assert [kind is not None and is_idempotent(kind) for kind in kinds] == [False, True, False, True]
    assert [isinstance(kind, LooksUp) for kind in kinds] == [False, False, True, False]
    assert table.find("SK-1", RuntimeBinding(adapter="simulated")) is None


def test_it_asks_what_came_of_keys(system: System, table: HttpSkills) -> None:
    """After a crash nobody could say what was booked."""
    bound = binding(system, look_up="/key/{key}")
    skill = table.find("SK-1", bound)
    assert isinstance(skill, LooksUp)
    system.booked["a/1"] = 1
    assert skill.look_up(["a/1", "b"], bound) == {"a/1": '{"booked": "a/1"}'}


def test_a_lookup_that_is_not_answered_says_nothing(system: System, table: HttpSkills) -> None:
    """A system that is down would be taken for one that booked nothing."""
    bound = binding(system, look_up="/cut/{key}")
    skill = table.find("SK-1", bound)
    assert isinstance(skill, LooksUp)
    with pytest.raises(ConnectionError):
        skill.look_up(["a"], bound)
