"""Event logs arrive whole, verbatim and in file order, and whatever does not arrive is named."""

import csv
import gzip
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.logs import ColumnMapping, LogBatch, LogReject, UnreadableLog, csv_table, read_log

ROOT = Path(__file__).parents[2]
LOGS = ROOT.parent / "shared" / "data" / "logs"
needs_real_logs = pytest.mark.skipif(not LOGS.is_dir(), reason=f"the real logs are not in {LOGS}")

EVENT = '<event><string key="concept:name" value="{}"/></event>'
TABLE = ColumnMapping("case", "activity", occurred_at="time")


class Log:
    """All batches of one read, for looking into."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.batches: list[LogBatch] = list(read_log(path, **options))
        self.events = [row for batch in self.batches for row in batch.events.iter_rows(named=True)]
        self.rejects: list[LogReject] = [reject for batch in self.batches for reject in batch.rejects]
        self.cases = [row for batch in self.batches for row in batch.cases.iter_rows()]

    def column(self, name: str) -> list[Any]:
        return [event[name] for event in self.events]

    @property
    def attributes(self) -> list[dict[str, Any]]:
        return [json.loads(event["attributes"]) for event in self.events]

    @property
    def faults(self) -> list[tuple[int, str]]:
        return [(reject.position, reject.rule) for reject in self.rejects]


@pytest.fixture
def xes(tmp_path: Path) -> Any:
    """Read a log with the given content of `<log>`."""

    def read(content: str, **options: Any) -> Log:
        path = tmp_path / "log.xes"
        path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<log>{content}</log>', encoding="utf-8")
        return Log(path, **options)

    return read


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Read a CSV file with the given text or bytes."""

    def read(content: str | bytes, **options: Any) -> Log:
        path = tmp_path / "log.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Log(path, **options)

    return read


def trace(name: str, *events: str) -> str:
    return f'<trace><string key="concept:name" value="{name}"/>{"".join(events)}</trace>'


def at(time: str, kind: str = "date") -> str:
    stamp = f'<{kind} key="time:timestamp" value="{time}"/>'
    return f'<event><string key="concept:name" value="a"/>{stamp}</event>'


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


# Real logs


@needs_real_logs
@pytest.mark.parametrize(
    ("name", "cases", "events", "activities", "variants"),
    [
        ("bpic2012.xes.gz", 13_087, 262_200, 24, 4_366),
        ("receipt.xes.gz", 1_434, 8_577, 27, 116),
        ("receipt.csv", 1_434, 8_577, 27, 116),
        ("procure_to_pay.xes.gz", 608, 18_238, 24, 98),
    ],
)
def test_a_real_log_has_its_size(name: str, cases: int, events: int, activities: int, variants: int) -> None:
    """If this fails, events are lost, invented, or moved between cases on data nobody made up."""
    batches = list(read_log(LOGS / name))
    log = pl.concat([batch.events for batch in batches])
    sequences = log.group_by("case_id", maintain_order=True).agg("activity")
    assert not [reject for batch in batches for reject in batch.rejects]
    assert log["position"].to_list() == list(range(events))
    assert sequences.height == cases
    assert log["activity"].n_unique() == activities
    assert len({tuple(sequence) for sequence in sequences["activity"].to_list()}) == variants


@needs_real_logs
def test_ties_of_a_real_log_stay_in_file_order() -> None:
    """If this fails, times are rounded or events reordered: ties would be lost or appear (README: 13,995)."""
    log = pl.concat([batch.events for batch in read_log(LOGS / "bpic2012.xes.gz")])
    instants = log.select("case_id", "occurred_at").rows()
    assert sum(a == b for a, b in pairwise(instants)) == 13_995
    assert sorted(log["lifecycle"].unique()) == ["COMPLETE", "SCHEDULE", "START"]


@needs_real_logs
def test_both_formats_of_one_real_log_tell_the_same() -> None:
    """If this fails, the same process imported as CSV and as XES would be two processes."""
    told = []
    for name in ("receipt.xes.gz", "receipt.csv"):
        episodes = defaultdict(list)
        for event in Log(LOGS / name).events:
            episodes[event["case_id"]].append(
                (event["activity"], event["occurred_at"], event["lifecycle"], event["resource"])
            )
        told.append(episodes)
    assert told[0] == told[1]


@needs_real_logs
def test_a_real_log_is_read_as_another_parser_reads_it() -> None:
    """If this fails, an attribute or a time of a real XES log is changed on its way in."""
    space = "{http://www.xes-standard.org/}"
    with gzip.open(LOGS / "receipt.xes.gz") as file:
        root = ElementTree.parse(file).getroot()
    expected = [
        {attribute.get("key"): attribute.get("value") for attribute in event}
        for event in root.findall(f"{space}trace/{space}event")
    ]
    traces = [
        {child.get("key"): child.get("value") for child in item if child.tag != f"{space}event"}
        for item in root.findall(f"{space}trace")
    ]
    log = Log(LOGS / "receipt.xes.gz")
    assert log.attributes == expected
    assert log.column("occurred_at") == [datetime.fromisoformat(e["time:timestamp"]) for e in expected]
    assert [json.loads(attributes) for _, attributes in log.cases] == traces


@needs_real_logs
def test_a_real_table_is_read_as_another_parser_reads_it() -> None:
    """If this fails, a cell of a real CSV log is changed or an empty one is taken for a value."""
    with (LOGS / "receipt.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    log = Log(LOGS / "receipt.csv")
    assert log.attributes == [
        {name: cell for name, cell in row.items() if cell and name != "case:concept:name"} for row in rows
    ]
    assert log.column("case_id") == [row["case:concept:name"] for row in rows]


@needs_real_logs
def test_an_object_centric_log_is_not_taken_for_an_empty_xes_log() -> None:
    """If this fails, an OCEL file, whose root is <log> too, imports as nothing or as rejects."""
    with pytest.raises(UnreadableLog, match="OCEL"):
        read_log(LOGS / "ocel20_example.xmlocel")


# Batches


def test_batches_follow_the_file_and_keep_their_size(xes: Any) -> None:
    """If this fails, a batch outgrows memory, or the accounting read = accepted + rejected breaks."""
    events = [EVENT.format("a"), EVENT.format(""), EVENT.format("b")]
    log = xes(trace("1", *events) + trace("2", *events), batch_rows=3)
    assert all(batch.events.height + len(batch.rejects) + batch.cases.height <= 3 for batch in log.batches)
    assert log.column("position") == [0, 2, 3, 5]
    assert log.faults == [(1, "no_activity"), (4, "no_activity")]


def test_every_batch_has_the_same_columns(xes: Any) -> None:
    """If this fails, a batch without times or resources has another schema and cannot be appended."""
    log = xes(trace("1", EVENT.format("a")) + "<trace/>", batch_rows=1)
    assert len(log.batches) == 3
    for batch in log.batches:
        assert dict(batch.events.schema) == {
            "position": pl.Int64,
            "case_id": pl.String,
            "activity": pl.String,
            "lifecycle": pl.String,
            "resource": pl.String,
            "occurred_at": pl.Datetime("us", "UTC"),
            "attributes": pl.String,
        }
        assert dict(batch.cases.schema) == {"case_id": pl.String, "attributes": pl.String}


_MEASURE = """
import re, sys
from pathlib import Path
from ingest.logs import read_log

def peak(path):
    for _ in read_log(Path(path), batch_rows=1000):
        pass
    # Unlike getrusage, the high-water mark of /proc does not start with that of the process which started us.
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

small, large = (peak(path) for path in sys.argv[1:])
print(large - small)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of a process is read from /proc")
@pytest.mark.parametrize(
    ("name", "opening", "event", "closing"),
    [
        ("log.xes.gz", "<log><trace><string key='concept:name' value='1'/>", EVENT, "</trace></log>"),
        ("log.csv.gz", "case,activity\n", "1,{}\n", ""),
    ],
)
def test_memory_follows_the_batch_and_not_the_file(
    tmp_path: Path, name: str, opening: str, event: str, closing: str
) -> None:
    """If this fails, a long log, even one of a single endless case, takes the machine down."""
    paths = []
    for thousands in (200, 600):
        (tmp_path / str(thousands)).mkdir()
        path = tmp_path / str(thousands) / name
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write(opening)
            for _ in range(thousands):
                file.write(event.format("a" * 100) * 1000)
            file.write(closing)
        paths.append(str(path))
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURE, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    mebibytes = int(measured.stdout) / 1024
    assert mebibytes < 64, "400,000 more events, 40 MB of text and far more as objects, stayed in memory"


# XES: cases and events


@pytest.mark.parametrize("name", ["NA", "null", "None", "007", " padded ", "Ünïcödé 案件", "#2", "nan"])
def test_any_text_is_a_case_id(xes: Any, table: Any, name: str) -> None:
    """If this fails, a case named like a missing value, or like a number, vanishes or merges with another."""
    assert xes(trace(name, EVENT.format("a"))).column("case_id") == [name]
    assert table(f"case,activity\n{name},a\n").column("case_id") == [name]


@pytest.mark.parametrize("name", ["", "  ", "&#9;"])
def test_a_trace_with_an_empty_name_has_no_case(xes: Any, name: str) -> None:
    """If this fails, events of unknown cases pile up in one case that never was."""
    log = xes(trace(name, EVENT.format("a"), at("never")) + trace("2", EVENT.format("b")))
    assert log.faults == [(0, "no_case_id"), (1, "no_case_id")]
    assert log.rejects[1].path == "/log/trace[1]/event[2]"
    assert [case for case, _ in log.cases] == ["2"]


def test_a_trace_without_a_name_is_known_by_its_number(xes: Any) -> None:
    """If this fails, nameless traces merge into one case or are lost."""
    log = xes(trace("x", EVENT.format("a")) + f"<trace>{EVENT.format('b')}</trace><trace/>")
    assert log.column("case_id") == ["x", "#2"]
    assert log.cases == [("x", '{"concept:name":"x"}'), ("#2", "{}"), ("#3", "{}")]


def test_a_name_may_come_after_the_events(xes: Any) -> None:
    """If this fails, logs that write trace attributes last import under numbers instead of names."""
    name = '<string key="concept:name" value="late"/>'
    log = xes(f"<trace>{EVENT.format('a')}{EVENT.format('b')}{name}{EVENT.format('c')}</trace>")
    assert log.column("case_id") == ["late"] * 3
    assert log.column("activity") == ["a", "b", "c"]


def test_an_event_outside_of_traces_is_rejected(xes: Any) -> None:
    """If this fails, stray events are lost without account, or shift the positions of all others."""
    log = xes(EVENT.format("a") + trace("1", EVENT.format("b")) + EVENT.format("c"))
    assert log.faults == [(0, "no_case_id"), (2, "no_case_id")]
    assert [reject.path for reject in log.rejects] == ["/log/event[1]", "/log/event[2]"]
    assert log.column("position") == [1]


@pytest.mark.parametrize("event", ["<event/>", EVENT.format(""), EVENT.format(" ")])
def test_an_event_without_activity_is_rejected(xes: Any, event: str) -> None:
    """If this fails, steps without a name enter the mined process."""
    log = xes(trace("1", EVENT.format("a"), "\n" + event))
    assert log.rejects == [LogReject(1, 3, "no_activity", "/log/trace[1]/event[2]", log.rejects[0].message)]


def test_repeated_events_and_traces_all_count(xes: Any) -> None:
    """If this fails, events that look alike are taken for duplicates, which real logs are full of."""
    same = trace("1", *[at("2011-01-01T00:00:00Z")] * 3)
    log = xes(same + same)
    assert log.column("position") == [0, 1, 2, 3, 4, 5]
    assert len(log.cases) == 2


def test_only_log_data_is_taken_for_log_data(xes: Any) -> None:
    """If this fails, defaults or classifiers become attributes, or defaults fill in what is missing."""
    log = xes(
        '<extension name="Concept" prefix="concept" uri="http://x"/>'
        '<global scope="trace"><string key="concept:name" value="default"/></global>'
        '<global scope="event"><string key="concept:name" value="default"/>'
        '<date key="time:timestamp" value="1970-01-01T00:00:00Z"/></global>'
        '<classifier name="Activity" keys="concept:name lifecycle:transition"/>'
        '<string key="concept:name" value="the log"/>'
        '<trace><!-- c --><string key="concept:name" value="1"/><?pi x?>'
        '<event><!-- c --><string key="concept:name" value="a"/><?pi x?>'
        '<string key="lifecycle:transition" value="start"/><string key="org:resource" value="Ann"/></event>'
        "<event/></trace>"
    )
    assert log.events == [
        {
            "position": 0,
            "case_id": "1",
            "activity": "a",
            "lifecycle": "start",
            "resource": "Ann",
            "occurred_at": None,
            "attributes": '{"concept:name":"a","lifecycle:transition":"start","org:resource":"Ann"}',
        }
    ]
    assert log.faults == [(1, "no_activity")]
    assert log.cases == [("1", '{"concept:name":"1"}')]


@pytest.mark.parametrize(
    "opening", ["<log>", '<log xmlns="http://www.xes-standard.org/">', '<x:log xmlns:x="http://other/">']
)
def test_a_namespace_makes_no_difference(tmp_path: Path, opening: str) -> None:
    """If this fails, logs of half of all tools import as empty."""
    prefix = "x:" if "x:log" in opening else ""
    content = re.sub("(</?)", rf"\1{prefix}", trace("1", EVENT.format("a")))
    path = tmp_path / "log.xes"
    path.write_text(f"{opening}{content}</{prefix}log>")
    assert Log(path).column("activity") == ["a"]


# XES: attributes


def test_attributes_keep_their_values_to_the_digit(xes: Any) -> None:
    """If this fails, imported evidence differs from the file: long ids rounded, money reformatted."""
    log = xes(
        trace(
            "1",
            '<event><string key="concept:name" value="a"/>'
            '<int key="big" value="123456789012345678901234567890"/><int key="signed" value="-007"/>'
            '<int key="plus" value="+5"/><int key="odd" value="1_000"/>'
            '<float key="money" value="1.10"/><float key="tiny" value="2.3832541524E7"/>'
            '<float key="nan" value="NaN"/><float key="inf" value="-INF"/><float key="bare" value=".5"/>'
            '<boolean key="yes" value="True"/><boolean key="no" value="0"/><boolean key="eh" value="maybe"/>'
            '<date key="due" value="2011-01-01T00:00:00.5+01:00"/><id key="id" value="A-1"/>'
            '<string key="größe 大小" value="&lt;&quot;x&quot;&#10;\\&gt;"/><string key="none"/></event>',
        )
    )
    assert log.column("attributes") == [
        '{"concept:name":"a","big":123456789012345678901234567890,"signed":-7,"plus":5,"odd":"1_000",'
        '"money":1.10,"tiny":2.3832541524E7,"nan":"NaN","inf":"-INF","bare":".5",'
        '"yes":true,"no":false,"eh":"maybe","due":"2011-01-01T00:00:00.5+01:00","id":"A-1",'
        '"größe 大小":"<\\"x\\"\\n\\\\>","none":null}'
    ]


def test_nested_attributes_keep_their_structure(xes: Any) -> None:
    """If this fails, what a log says about an attribute, or a list within it, is lost or flattened."""
    log = xes(
        trace(
            "1",
            '<event><string key="concept:name" value="a"><string key="by" value="x"/></string>'
            '<list key="new"><string key="about" value="y"/><values><int key="i" value="1"/>'
            '<int key="i" value="2"/></values></list>'
            '<list key="old"><string key="i" value="p"/></list><list key="none"/>'
            '<container key="box"><float key="f" value="1.0"/><container key="in"/></container></event>',
        )
    )
    assert log.column("activity") == ["a"]
    assert log.attributes == [
        {
            "concept:name": {"value": "a", "attributes": {"by": "x"}},
            "new": {"value": [1, 2], "attributes": {"about": "y"}},
            "old": ["p"],
            "none": [],
            "box": {"f": 1.0, "in": {}},
        }
    ]


def test_a_repeated_key_keeps_all_its_values(xes: Any) -> None:
    """If this fails, the last value silently replaces the others; a list among them must not swallow them."""
    log = xes(
        trace(
            "1",
            '<event><string key="concept:name" value="first"/><string key="concept:name" value="second"/>'
            '<list key="k"><int key="i" value="1"/></list><int key="k" value="2"/>'
            '<int key="k" value="3"/></event>',
        )
    )
    assert log.column("activity") == ["first"]
    assert log.attributes == [{"concept:name": ["first", "second"], "k": [[1], 2, 3]}]
    named_twice = trace("1", '<string key="concept:name" value="2"/>', EVENT.format("a"))
    assert xes(named_twice).column("case_id") == ["1"]


# Times


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2011-10-11T13:45:40Z", utc(2011, 10, 11, 13, 45, 40)),
        ("2011-10-11T13:45:40.276+02:00", utc(2011, 10, 11, 11, 45, 40, 276_000)),
        ("2011-10-11T13:45:40.1234567-05:30", utc(2011, 10, 11, 19, 15, 40, 123_456)),
        ("2011-10-11T13:45:40.999999999Z", utc(2011, 10, 11, 13, 45, 40, 999_999)),
        ("2011-10-11 13:45+0200", utc(2011, 10, 11, 11, 45)),
        ("2011-10-11", utc(2011, 10, 11)),
        ("1948-02-29T23:59:59.5Z", utc(1948, 2, 29, 23, 59, 59, 500_000)),
        ("9999-11-30T23:59:59Z", utc(9999, 11, 30, 23, 59, 59)),
    ],
)
def test_a_time_is_its_instant_to_the_microsecond(xes: Any, table: Any, time: str, moment: datetime) -> None:
    """If this fails, durations and the order of events are wrong, above all around zones and old dates."""
    assert xes(trace("1", at(time))).column("occurred_at") == [moment]
    assert table(f"case,activity,time\n1,a,{time}\n").column("occurred_at") == [moment]


def test_a_zone_that_changes_in_mid_log_is_followed(xes: Any) -> None:
    """If this fails, the change to winter time reorders or stretches cases by an hour."""
    times = ("2011-10-30T02:30:00+02:00", "2011-10-30T02:30:00+01:00", "2011-10-30T01:30:00Z")
    log = xes(trace("1", *map(at, times)))
    assert log.column("occurred_at") == [utc(2011, 10, 30, 0, 30)] + [utc(2011, 10, 30, 1, 30)] * 2


@pytest.mark.parametrize(
    ("local", "moment"),
    [
        ("2011-07-01T12:00:00", utc(2011, 7, 1, 10)),
        ("2011-01-01T12:00:00", utc(2011, 1, 1, 11)),
        # 02:30 happens twice as clocks go back on 30 October; the first time is still at +02:00.
        ("2011-10-30T02:30:00", utc(2011, 10, 30, 0, 30)),
        # 02:30 does not happen as clocks go forward on 27 March; at +01:00, as before, it is 01:30 UTC.
        ("2011-03-27T02:30:00", utc(2011, 3, 27, 1, 30)),
    ],
)
def test_a_time_without_zone_is_local(xes: Any, table: Any, local: str, moment: datetime) -> None:
    """If this fails, logs without offsets are hours off, or differently so in summer."""
    options = {"timezone": "Europe/Amsterdam"}
    assert xes(trace("1", at(local)), **options).column("occurred_at") == [moment]
    assert table(f"case,activity,time\n1,a,{local}\n", **options).column("occurred_at") == [moment]


BAD_TIMES = [
    "11/10/2011 13:45",
    "1318333540276",
    "1212121212121",
    "2011-02-29T00:00:00Z",
    "2011-10-11T25:00:00Z",
    "2011-10-11x13:45:40",
    "9999-12-31T23:59:59-01:00",
    "UNKNOWN",
]


@pytest.mark.parametrize("time", [*BAD_TIMES, ""])
def test_a_time_that_is_none_is_rejected_where_it_stands(xes: Any, time: str) -> None:
    """If this fails, a guess at a time moves the event, or nobody finds the attribute to correct."""
    log = xes(trace("0") + trace("1", EVENT.format("a"), "\n" + at(time)))
    assert log.faults == [(1, "bad_time")]
    assert log.rejects[0].path == "/log/trace[2]/event[2]/date[@key='time:timestamp']"
    assert log.rejects[0].offset == 3
    assert not time or time not in log.rejects[0].message


def test_the_path_of_a_bad_time_names_the_kind_of_attribute(xes: Any) -> None:
    """If this fails, the XPath of a reject finds nothing where a tool wrote times as strings."""
    log = xes(trace("1", at("soon", "string")))
    assert log.rejects[0].path == "/log/trace[1]/event[1]/string[@key='time:timestamp']"


@pytest.mark.parametrize("time", BAD_TIMES)
def test_a_cell_that_is_no_time_is_rejected_by_row_and_column(table: Any, time: str) -> None:
    """If this fails, day and month are swapped by a guess, or nobody finds the cell to correct."""
    log = table(f"case,activity,time\n1,a,\n1,b,{time}\n")
    assert log.column("occurred_at") == [None]
    assert log.faults == [(1, "bad_time")]
    assert (log.rejects[0].offset, log.rejects[0].path) == (2, 'row 2, column "time"')
    assert time not in log.rejects[0].message


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2011/10/11 13:45:40.276", utc(2011, 10, 11, 13, 45, 40, 276_000)),
        ("31-10-2011 13:45", utc(2011, 10, 31, 13, 45)),
        ("01-02-2011 13:45:40", utc(2011, 2, 1, 13, 45, 40)),
        ("01.02.2011 13:45:40", utc(2011, 2, 1, 13, 45, 40)),
        ("2011-10-11 13:45:40.276000+02:00", utc(2011, 10, 11, 11, 45, 40, 276_000)),
        ("2011-10-11 13:45:40.276 +02:00", utc(2011, 10, 11, 11, 45, 40, 276_000)),
    ],
)
def test_common_forms_of_time_are_read_in_tables(table: Any, time: str, moment: datetime) -> None:
    """If this fails, exports of common tools need a time_format, or their month is taken for the day."""
    assert table(f"case,activity,time\n1,a,{time}\n").column("occurred_at") == [moment]


def test_a_time_format_settles_day_and_month(table: Any) -> None:
    """If this fails, the mapping cannot say what the reader refuses to guess."""
    content = "case,activity,time\n1,a,11/10/2011 13:45\n1,b,2011-10-11\n"
    mapping = ColumnMapping("case", "activity", occurred_at="time", time_format="%d/%m/%Y %H:%M")
    log = table(content, mapping=mapping, timezone="Europe/Amsterdam")
    assert log.column("occurred_at") == [utc(2011, 10, 11, 11, 45)]
    assert log.faults == [(1, "bad_time")]


# Tables


@pytest.mark.parametrize(
    "header",
    [
        "case:concept:name,concept:name,time:timestamp,lifecycle:transition,org:resource",
        "case_id,activity,timestamp,lifecycle,resource",
        "Case ID,Activity Name,Complete Timestamp,Lifecycle,Resource",
        "CaseID,Event,Start Timestamp,lifecycle:transition,Resource",
        "case,activity,completed_at,lifecycle,org:resource",
    ],
)
def test_common_headers_are_recognised(table: Any, header: str) -> None:
    """If this fails, users must write mappings for files of well-known tools."""
    log = table(f"{header}\n007,a,2011-01-01T00:00:00Z,start,Ann\n")
    expected = {"case_id": "007", "activity": "a", "lifecycle": "start", "resource": "Ann"}
    assert log.events == [log.events[0] | expected | {"position": 0, "occurred_at": utc(2011, 1, 1)}]
    cells = ["a", "2011-01-01T00:00:00Z", "start", "Ann"]
    assert log.attributes == [dict(zip(header.split(",")[1:], cells, strict=True))]
    assert not log.cases


def test_the_better_known_of_two_headers_wins(table: Any) -> None:
    """If this fails, events carry the time they began or a vague name, though the file knows better."""
    log = table("event,start timestamp,case,activity,complete timestamp\nx,2011-01-01,1,a,2011-01-02\n")
    assert (log.events[0]["activity"], log.events[0]["occurred_at"]) == ("a", utc(2011, 1, 2))


def test_a_mark_before_a_quoted_header_does_not_hide_the_delimiter(table: Any) -> None:
    """If this fails, separators within the first column's quotes are counted, and the file is cut by them."""
    assert table('\ufeff"a;b;c;d",case,activity\nx,1,a\n').column("case_id") == ["1"]


def test_a_mapping_outweighs_the_header(table: Any) -> None:
    """If this fails, a file whose `case` column is no case id cannot be imported rightly."""
    log = table("case,activity,ticket\nlarge,a,T1\n", mapping=ColumnMapping("ticket", "activity"))
    assert log.column("case_id") == ["T1"]
    assert log.attributes == [{"case": "large", "activity": "a"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiter_line_end_and_mark_do_not_matter(table: Any, delimiter: str, end: str, mark: str) -> None:
    """If this fails, a file of another country or system is one column, one row, or lacks its first."""
    rows = [["case", "activity", "note"], ["1", "a", f'x{delimiter} "y"'], ["2", "b", f"two{end}lines"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    log = table(mark + text.getvalue())
    assert log.column("case_id") == ["1", "2"]
    assert [event["note"] for event in log.attributes] == [rows[1][2], rows[2][2]]


def test_an_empty_cell_is_absent(table: Any) -> None:
    """If this fails, empty cells become values, or a row without case, activity or time goes unnoticed."""
    log = table("case,activity,time,resource,x\n1,a,,,\n,b,,,\n1, ,,,\n")
    assert log.attributes == [{"activity": "a"}]
    assert (log.events[0]["resource"], log.events[0]["occurred_at"]) == (None, None)
    assert [(reject.rule, reject.path) for reject in log.rejects] == [
        ("no_case_id", 'row 2, column "case"'),
        ("no_activity", 'row 3, column "activity"'),
    ]


def test_a_row_with_the_wrong_number_of_cells_is_rejected(table: Any) -> None:
    """If this fails, cells shift into foreign columns, or one bad row costs the file."""
    log = table("case,activity,x\n1,a,\n\n1,b\n1,c,,\n1,d,\n")
    assert log.column("activity") == ["a", "d"]
    assert log.column("position") == [0, 3]
    assert [(r.position, r.offset, r.rule, r.path) for r in log.rejects] == [
        (1, 2, "bad_row", "row 2"),
        (2, 3, "bad_row", "row 3"),
    ]


CELLS = st.text(st.sampled_from("aé 0\"',;\r\n"), max_size=20)
ROWS = st.lists(st.tuples(st.integers(1, 5), st.lists(CELLS, min_size=3, max_size=3)), max_size=40)


@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n", "\r"]), ends_open=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_block_boundaries_do_not_show(
    tmp_path: Path, rows: list[tuple[int, list[str]]], end: str, ends_open: bool
) -> None:
    """If this fails, rows, rejects or line ends in quotes are lost or misplaced where Arrow cuts blocks."""
    table = [["c", "a", *cells][:width] + [""] * (width - 5) for width, cells in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["case", "activity", "x", "y", "z"], *table])
    path = tmp_path / "log.csv"
    path.write_bytes((text.getvalue().removesuffix(end) if ends_open else text.getvalue()).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_table, "_BLOCK_BYTES", 256)
        log = Log(path, batch_rows=7)
    whole = [index for index, row in enumerate(table) if len(row) == 5]
    assert log.column("position") == whole
    cells = [[event.get(name, "") for name in "xyz"] for event in log.attributes]
    assert cells == [table[i][2:] for i in whole]
    assert log.faults == [(i, "bad_row") for i in range(len(table)) if i not in whole]


def test_a_line_end_in_quotes_survives_boundaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, a CR LF within a cell loses its LF where the two lie in different blocks."""
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 64)
    cells = ["x" * width + "\r\ny" for width in range(40)]
    path = tmp_path / "log.csv"
    path.write_bytes(("case,activity,x\r\n" + "".join(f'1,a,"{cell}"\r\n' for cell in cells)).encode())
    assert [event["x"] for event in Log(path).attributes] == cells


def test_another_encoding_is_named_and_not_guessed(table: Any) -> None:
    """If this fails, names are imported garbled, or the user is not told which byte to look at."""
    content = ("case,activity\n" + "1,a\n" * 50_000 + "1,café\n").encode("cp1252")
    with pytest.raises(UnreadableLog, match=f"byte {len(content) - 2} is not utf-8"):
        table(content)
    log = table(content, mapping=ColumnMapping("case", "activity", encoding="cp1252"))
    assert log.column("activity")[-1] == "café"


def test_wide_encodings_are_read(table: Any) -> None:
    """If this fails, exports of Excel as Unicode text cannot be imported even with a mapping."""
    mapping = ColumnMapping("case", "activity", encoding="utf-16", delimiter="\t")
    assert table("case\tactivity\n1\té案\n".encode("utf-16"), mapping=mapping).column("activity") == ["é案"]


# Cut and damaged files


def documents() -> Iterator[tuple[str, bytes]]:
    names = ("café", "b", "c é")
    yield "log.xes", f"<log>{trace('1', *map(EVENT.format, names))}</log>".encode()
    yield "log.csv", ("case,activity,x\n" + "".join(f'1,"{name}",\n' for name in names)).encode()


@pytest.mark.parametrize(("name", "content"), documents())
def test_a_packed_log_may_be_cut_anywhere(tmp_path: Path, name: str, content: bytes) -> None:
    """If this fails, a broken download loses what did arrive, imports half a row, or passes as whole."""
    path = tmp_path / f"{name}.gz"
    # Level 0 stores the bytes as they are, behind 10 of gzip's header and 5 of the block's.
    packed = gzip.compress(content, compresslevel=0)
    is_xes = name == "log.xes"
    for end in range(content.index(b">" if is_xes else b"\n") + 1, len(content)):
        path.write_bytes(packed[: end + 15])
        log = Log(path)
        whole = content[:end].count(b"</event>") if is_xes else content[:end].count(b"\n") - 1
        assert log.column("position") == list(range(whole))
        assert log.faults == [(whole, "truncated")]
        assert "gzip" in log.rejects[0].message


def test_a_log_may_be_cut_anywhere(tmp_path: Path) -> None:
    """If this fails, some cut crashes the import, loses a complete event or invents one."""
    content = (
        '<?xml version="1.0"?><log>'
        + trace("1", EVENT.format("a"), at("2011-01-01"))
        + trace("2", EVENT.format("b"))
        + "</log>"
    ).encode()
    opened = content.index(b"<log>") + len(b"<log>")
    path = tmp_path / "log.xes"
    for end in range(opened, len(content)):
        path.write_bytes(content[:end])
        log = Log(path)
        assert len(log.events) == content[:end].count(b"</event>")
        assert log.faults == [(len(log.events), "truncated")]


def test_a_damaged_checksum_is_reported(tmp_path: Path) -> None:
    """If this fails, a file whose bytes are known to be wrong passes for a good one."""
    packed = gzip.compress(f"<log>{trace('1', EVENT.format('a'))}</log>".encode())
    path = tmp_path / "log.xes.gz"
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    log = Log(path)
    assert log.faults == [(1, "truncated")]


def test_bytes_that_are_no_utf_8_stop_an_xes_log_there(tmp_path: Path) -> None:
    """If this fails, a wrong byte costs the events before it, or passes as a cut file."""
    path = tmp_path / "log.xes"
    path.write_bytes(
        f"<log>{trace('1', EVENT.format('a'), EVENT.format('b'))}</log>".encode().replace(b'"b"', b'"\xe9"')
    )
    log = Log(path)
    assert log.column("activity") == ["a"]
    assert log.faults == [(1, "not_utf8")]


def test_a_declared_encoding_is_followed(tmp_path: Path) -> None:
    """If this fails, logs of older tools stop at their first accent."""
    path = tmp_path / "log.xes"
    content = f'<?xml version="1.0" encoding="ISO-8859-1"?><log>{trace("1", EVENT.format("café"))}</log>'
    path.write_bytes(content.encode("latin-1"))
    assert Log(path).column("activity") == ["café"]


@pytest.mark.parametrize("tail", ['"cut', '"cut\n', '"cut ""quote""', '"', '"a,b\n3,c,d\n'])
def test_a_quote_that_is_never_closed_is_a_cut(table: Any, tail: str) -> None:
    """If this fails, half a cell, or the rest of the file in one cell, is imported as a value."""
    log = table("case,activity,x\n1,a,y\n2,b," + tail)
    assert log.column("case_id") == ["1"]
    assert log.faults == [(1, "truncated")]


def test_a_quote_that_swallows_a_block_is_a_cut(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, one stray quote makes the whole file unreadable, or is read until memory ends."""
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 256)
    log = table("case,activity\n" + "1,a\n" * 1_000 + '1,"b\n' + "1,c\n" * 1_000)
    assert log.column("position") == list(range(1_000))
    assert log.faults == [(1_000, "truncated")]


# Files that cannot be read


def test_content_and_not_the_name_tells_the_format(tmp_path: Path) -> None:
    """If this fails, a renamed file is refused or misread."""
    document = f"\n<log>{trace('1', EVENT.format('a'))}</log>".encode()
    table = b"case,activity\n1,a\n"
    for name, content in {
        "a.csv": document,
        "a.xes": gzip.compress(document),
        "a.xes.gz": gzip.compress(document),
        "a.csv.gz": gzip.compress(table),
        "a.log": table,
        "b.xes": document.decode().strip().encode("utf-16"),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert Log(tmp_path / name).column("activity") == ["a"], name


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xes", b"", "empty"),
        ("a.csv", b"\xef\xbb\xbf \n\n", "empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("a.csv.gz", gzip.compress(b"case,activity\n1,a\n", mtime=0)[:12], "ends in the middle"),
        ("a.csv.gz", b"case,activity\n1,a\n", "not gzip"),
        ("a.xes", b"case,activity\n1,a\n", "not XML"),
        ("a.xes", b"< log>", "no XML"),
        ("a.xml", b"<html><body/></html>", "<html>"),
        ("a.csv", b"nothing\nhere\n", "'nothing'.*delimiter"),
        ("a.csv", b"id,step\n1,a\n", "'id', 'step'"),
        ("a.csv", b"case,activity,x,x,case\n", "'case', 'x'|'x', 'case'"),
        ("a.csv", b'case,"activity\n1,a\n', "quote"),
    ],
)
def test_an_unreadable_file_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """If this fails, the user sees a stack trace, or an import of nothing, instead of what to change."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableLog, match=reason) as caught:
        read_log(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_without_a_readable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, a typing error in the path looks like a fault of the platform."""
    with pytest.raises(UnreadableLog, match="no such file"):
        read_log(tmp_path / "absent.xes")
    with pytest.raises(UnreadableLog, match="directory"):
        read_log(tmp_path)

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(UnreadableLog, match="permission"):
        read_log(tmp_path / "locked.xes")


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (ColumnMapping("case", "step"), "'step'.*'case', 'activity'"),
        (ColumnMapping("case", "activity", encoding="klingon"), "klingon"),
    ],
)
def test_a_wrong_mapping_says_what_there_is(table: Any, mapping: ColumnMapping, reason: str) -> None:
    """If this fails, a misspelt column imports as nothing or raises a bare KeyError."""
    with pytest.raises(UnreadableLog, match=reason):
        table("case,activity\n1,a\n", mapping=mapping)


def test_a_log_of_nothing_is_no_fault(xes: Any, table: Any) -> None:
    """If this fails, the export of a quiet day raises an alarm."""
    assert not xes("").batches
    assert not table("case,activity\n").batches


def test_an_entity_bomb_does_not_go_off(tmp_path: Path) -> None:
    """If this fails, a file of one kilobyte takes all memory, or reads other files of this machine."""
    lols = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE log [<!ENTITY l0 "lol">{lols}]><log>{trace("1", EVENT.format("&l9;"))}</log>'
    thief = f'<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>{trace("&x;")}</log>'
    path = tmp_path / "log.xes"
    for content in (bomb, thief):
        path.write_text(content)
        with pytest.raises(UnreadableLog, match="DOCTYPE"):
            read_log(path)


def test_a_log_deeper_than_any_tool_writes_stops_there(xes: Any) -> None:
    """If this fails, nesting made by an attacker exhausts the stack, or sane nesting is refused."""
    deep = '<event><string key="concept:name" value="a"/>{}</event>'
    sane = deep.format('<string key="k" value="v">' * 200 + "</string>" * 200)
    mad = deep.format('<string key="k" value="v">' * 5_000 + "</string>" * 5_000)
    log = xes(trace("1", sane, mad))
    assert log.column("position") == [0]
    assert log.faults == [(1, "truncated")]


def test_an_abandoned_read_gives_the_file_back(tmp_path: Path) -> None:
    """If this fails, an import that stops half-way leaves files open or a reading thread behind."""
    path = tmp_path / "log.csv"
    path.write_text("case,activity\n" + "1,a\n" * 500_000)
    batches = read_log(path, batch_rows=10)
    assert next(batches).events.height == 10
    del batches
    path.unlink()
