"""A landed file is cut into records: none is lost, none is made up, and no file takes more memory than a record."""

import gzip
import random
import re
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.reading import read_parts
from ingest.records import MAX_RECORD_BYTES, Limits, Record
from tests.senders import line, lines, record


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "landed.ndjson"


LIMITS = Limits(records=20_000, bytes=4 << 20)


def read_records(file: Path, limits: Limits = LIMITS) -> list[Record]:
    return [found for part in read_parts(file, limits) for found in part]


def read(file: Path, content: bytes, limits: Limits = LIMITS) -> list[Record]:
    file.write_bytes(content)
    return read_records(file, limits)


def raws(records: list[Record]) -> list[bytes]:
    return [record.raw for record in records if record.fault is None]


def test_a_record_is_a_line_and_knows_where_it_starts(file: Path) -> None:
    """A dead letter points there; one byte off and nobody finds the record."""
    content = lines(record("A"), record("É"), record("C"))
    second = content.index(b"\n") + 1
    third = content.index(b"\n", second) + 1
    assert read(file, content) == [
        Record(0, line(record("A"))),
        Record(second, line(record("É"))),
        Record(third, line(record("C"))),
    ]


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b'{"a":1}\r\n{"b":2}\r\n', [(0, b'{"a":1}'), (9, b'{"b":2}')]),
        (b'\xef\xbb\xbf{"a":1}\n', [(0, b'{"a":1}')]),
        (b'\n\n  \r\n\t\n{"a":1}\n\n', [(8, b'{"a":1}')]),
        (b'  {"a":1} \t \n', [(0, b'{"a":1}')]),
        (b'{"a":1}\n\xef\xbb\xbf{"b":2}\n', [(0, b'{"a":1}'), (8, b'\xef\xbb\xbf{"b":2}')]),
        (b"\x00\n\xff\xfe\n", [(0, b"\x00"), (2, b"\xff\xfe")]),
        (b'{"a":"\xe2\x80\xa8"}\n', [(0, b'{"a":"\xe2\x80\xa8"}')]),
        (b'{"a":"\x0b\x0c\x1c\x85"}\n', [(0, b'{"a":"\x0b\x0c\x1c\x85"}')]),
    ],
    ids=["CRLF", "BOM", "blank lines", "blanks around", "BOM within", "no text", "line separator", "odd line ends"],
)
def test_only_line_feeds_end_a_line_and_blanks_around_it_go(
    file: Path, content: bytes, records: list[tuple[int, bytes]]
) -> None:
    """A record cut at another character would be two refusals in place of an event."""
    assert [(found.offset, found.raw) for found in read(file, content)] == records


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_a_record_is_one_fault(file: Path, content: bytes) -> None:
    """A producer that sends empty files has failed, and nobody would know."""
    assert read(file, content) == [Record(0, b"", "empty_file")]
    assert read(file, gzip.compress(content)) == [Record(0, b"", "empty_file")]


def test_a_file_that_is_gone_or_cannot_be_opened_is_one_fault(file: Path) -> None:
    """It was named in the registry: reading it must end, or its batch never does."""
    assert read_records(file) == [Record(0, b"", "missing")]
    assert read_records(file.parent) == [Record(0, b"", "unreadable")]


def test_an_empty_file_named_gz_is_empty_and_anything_else_is_not_gzip(tmp_path: Path) -> None:
    """The two have different causes at the sender."""
    named = tmp_path / "a.ndjson.gz"
    assert read(named, b"") == [Record(0, b"", "empty_file")]
    assert read(named, lines(record())) == [Record(0, b"", "not_gzip")]
    assert read(named, b"\x1f") == [Record(0, b"", "not_gzip")]


def test_content_decides_whether_a_file_is_packed(file: Path) -> None:
    """Names lie: a gzip without .gz is read all the same."""
    assert raws(read(file, gzip.compress(lines(record("A"), record("B"))))) == [line(record("A")), line(record("B"))]


def test_several_gzip_streams_in_one_file_are_one_file(file: Path) -> None:
    """`cat a.gz b.gz` and log rotation make them; the second stream would be lost."""
    content = lines(record("A"), record("B"))
    packed = gzip.compress(content[:40]) + gzip.compress(content[40:]) + b"\x00" * 512
    assert raws(read(file, packed)) == [line(record("A")), line(record("B"))]


def test_only_the_last_line_can_be_incomplete(file: Path) -> None:
    """Whether a record that is no JSON was cut or is wrong depends on it."""
    found = read(file, lines(record("A")) + line(record("B")))
    assert [one.is_complete for one in found] == [True, False]
    assert raws(found) == [line(record("A")), line(record("B"))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.sampled_from([b"a", b"\n", b" ", b"\r", b"{}", b"\xff", b"\xef\xbb\xbf"])).map(b"".join))
def test_every_line_of_any_file_is_a_record_or_blank(file: Path, content: bytes) -> None:
    """Accounting starts from here: a line that is no record is never counted."""
    found = read(file, content)
    # The reader takes blank what a JSON parser does; the BOM is blank at the start only.
    written = [each.strip(b" \t\r\n") for each in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    if b"\n" not in content and re.search(rb"\{\}[ \r]*\r[ \r]*\{\}", content):
        assert [one.fault for one in found] == ["cr_lines"]
    elif any(written):
        assert [one.raw for one in found] == [each for each in written if each]
        assert all(one.offset < other.offset for one, other in pairwise(found))
        ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
        assert {one.offset for one in found} <= {0, *ends}
    else:
        assert [one.fault for one in found] == ["empty_file"]


def packed_records(count: int) -> tuple[list[bytes], bytes]:
    rng = random.Random(1)
    records = [line(record(f"E-{number}", producer_id=rng.randbytes(12).hex())) for number in range(count)]
    return records, gzip.compress(b"".join(each + b"\n" for each in records), mtime=0)


def test_a_gzip_cut_at_any_byte_gives_what_came_before_and_one_fault(file: Path) -> None:
    """An upload that broke off must neither stop the batch nor pass for whole."""
    records, packed = packed_records(12)
    for cut in range(2, len(packed)):
        found = read(file, packed[:cut])
        assert raws(found) == records[: len(found) - 1]
        assert [one.fault for one in found if one.fault] == ["truncated"]
        assert found[-1].fault == "truncated"
        assert not found[-1].is_complete
    assert raws(read(file, packed)) == records


def test_a_gzip_with_any_byte_damaged_ends_in_a_fault_or_is_whole(file: Path) -> None:
    """A bit that flipped on a disk must not stop the batch, nor give other records without a word."""
    records, packed = packed_records(6)
    for place in range(2, len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x55
        found = read(file, bytes(damaged))
        faults = [one.fault for one in found if one.fault]
        assert faults in (["corrupt"], ["truncated"]) or (not faults and raws(found) == records)


def test_bytes_after_a_gzip_stream_are_a_fault(file: Path) -> None:
    """They may be records that somebody appended to the packed file."""
    found = read(file, gzip.compress(lines(record("A"))) + lines(record("B")))
    assert [(one.raw, one.fault) for one in found] == [(line(record("A")), None), (b"", "corrupt")]


def sized(size: int) -> bytes:
    """Return a line of JSON of exactly `size` bytes."""
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_record_of_the_limit_is_read_and_one_byte_more_is_not(file: Path, end: bytes) -> None:
    """The message promises 1 MiB."""
    (found,) = read(file, sized(MAX_RECORD_BYTES) + end)
    assert (found.fault, len(found.raw)) == (None, MAX_RECORD_BYTES)
    (found,) = read(file, sized(MAX_RECORD_BYTES + 1) + end)
    assert (found.fault, found.raw) == ("too_large", b"")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_record_that_is_too_large_is_passed_over_whole(file: Path, pack: type) -> None:
    """The rest of a 2 MB line read as records of their own would be garbage by the thousand."""
    large = sized(2_000_000)
    content = lines(record("A"), large, record("C"), large[:-1])
    found = read(file, pack(content))
    assert [(one.offset, one.raw, one.fault) for one in found] == [
        (0, line(record("A")), None),
        (len(lines(record("A"))), b"", "too_large"),
        (len(lines(record("A"), large)), line(record("C")), None),
        (len(lines(record("A"), large, record("C"))), b"", "too_large"),
    ]


def test_a_gzip_cut_within_a_record_that_is_too_large_is_one_fault(file: Path) -> None:
    """The two faults met in a loop that expected neither, and the batch stopped."""
    noise = random.Random(2).randbytes(1_500_000).hex().encode()
    packed = gzip.compress(lines(record("A"), noise), compresslevel=1)
    for cut in (len(packed) - 4, len(packed) * 9 // 10, len(packed) * 2 // 3):
        found = read(file, packed[:cut])
        assert raws(found) == [line(record("A"))]
        assert all(one.fault in ("too_large", "truncated") for one in found[1:])
        assert found[-1].fault == "truncated"
    damaged = bytearray(packed)
    damaged[len(packed) * 9 // 10] ^= 0xFF
    assert read(file, bytes(damaged))[-1].fault == "corrupt"


def test_memory_follows_the_record_and_not_the_file(file: Path) -> None:
    """A line without an end, or a bomb of a gzip, would take the machine with it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(b"a" * 1_000_000) for _ in range(64)) + packer.flush()
    assert len(packed) < 100_000
    file.write_bytes(packed)
    plain = file.with_name("plain.ndjson")
    plain.write_bytes(b"a" * 64_000_000)
    tracemalloc.start()
    faults = [one.fault for path in (file, plain) for one in read_records(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert faults == ["too_large", "too_large"]
    assert peak < 8 * MAX_RECORD_BYTES
