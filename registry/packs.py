"""A pack: a folder of documents, read without trusting it.

    roles.json, role_skills.json, agents.json, ontology.json    a list of documents each
    skills/, policies/, event_schemas/, workflows/              a document per .json file

A folder may come from anybody: links are not followed, sizes are bounded, and what has no place in a pack is named
instead of passed over, since a misspelt folder would leave out what somebody relies on.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from guard.canonical import digest, digest_text
from guard.files import Unreadable, read_regular
from registry.documents import (
    Agent,
    Document,
    DocumentRefused,
    EventSchema,
    Fault,
    OntologyNode,
    Policy,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
)
from registry.drafts import Incoming

LISTS: Mapping[str, type[Document]] = {
    "roles.json": Role,
    "role_skills.json": RoleSkill,
    "agents.json": Agent,
    "ontology.json": OntologyNode,
}
FOLDERS: Mapping[str, type[Document]] = {
    "skills": SkillNode,
    "policies": Policy,
    "event_schemas": EventSchema,
    "workflows": Workflow,
}
MAX_FILE_BYTES = 16 << 20
MAX_PACK_BYTES = 512 << 20
MAX_FILES = 100_000

_FIXES = {
    "no_file": "put a .json file there",
    "unreadable": "make it readable",
    "too_large": f"split it; a file may have {MAX_FILE_BYTES:,} bytes, a pack {MAX_PACK_BYTES:,}",
}
_BESIDE = frozenset(("templates",))
"""What may lie in a pack and is no document."""


class PackRefused(ValueError):
    """A pack that was not taken; `faults` holds everything that is wrong with it, and nothing was written."""

    def __init__(self, folder: Path, faults: Sequence[Fault]) -> None:
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"the pack {folder} was refused, nothing was written; {len(faults)} faults:\n{lines}")
        self.folder = folder
        self.faults = tuple(faults)


@dataclass(frozen=True)
class Pack:
    """What a folder holds: its files by their path within it, and a digest that names their content."""

    folder: Path
    files: Mapping[str, bytes]
    digest: str

    def documents(self, faults: list[Fault]) -> Iterator[Incoming[Any]]:
        """Yield the texts of the documents; a list that is none is added to `faults`."""
        for name, content in self.files.items():
            kind = LISTS.get(name)
            if kind is None:
                yield Incoming(FOLDERS[name.partition("/")[0]], content, name)
                continue
            try:
                items = msgspec.json.decode(content, type=list[msgspec.Raw])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                faults.append(Fault(name, "", f"is no JSON list: {error}", "write a list of objects in UTF-8"))
                continue
            for index, item in enumerate(items):
                yield Incoming(kind, bytes(item), f"{name}#{index}")


def read_pack(folder: Path, faults: list[Fault], *, is_whole: bool = False) -> Pack:
    """Return the files of a pack; everything that keeps it from being one is added to `faults`.

    Args:
        is_whole: whether every list and folder must be there.
    """
    paths: list[str] = []
    if folder.is_dir():
        paths = list(_paths(folder, faults))
    elif not is_whole:
        faults.append(Fault(str(folder), "", "is no folder", "name the folder of a pack"))
    if is_whole:
        there = {path.partition("/")[0] for path in paths} | {name for name in FOLDERS if (folder / name).is_dir()}
        missing = [name for name in LISTS if name not in there] + [f"{name}/" for name in FOLDERS if name not in there]
        faults += [Fault(name, "", "is missing from the pack", f"put it into {folder}") for name in missing]
    elif not paths and not faults:
        faults.append(Fault(str(folder), "", "holds no document", f"put {', '.join((*LISTS, *FOLDERS))} into it"))
    if len(paths) > MAX_FILES:
        faults.append(Fault(str(folder), "", f"holds {len(paths):,} files", f"split it; {MAX_FILES:,} are read"))
        paths = []
    files: dict[str, bytes] = {}
    left = MAX_PACK_BYTES
    for path in paths:
        content = _content(folder / path, path, min(MAX_FILE_BYTES, left), faults)
        if content is not None:
            files[path] = content
            left -= len(content)
    return Pack(folder, files, digest({name: digest_text(content) for name, content in files.items()}))


def _paths(folder: Path, faults: list[Fault]) -> Iterator[str]:
    """Yield the documents' paths within the folder, lists first; what has no place is added to `faults`."""
    entries = _entries(folder, "", faults)
    for name, entry in entries.items():
        if name in LISTS:
            if not entry.is_file():
                faults.append(Fault(name, "", "is no file", "put a list of documents there"))
        elif name not in FOLDERS or not entry.is_dir():
            what = ", ".join((*LISTS, *(f"{known}/" for known in FOLDERS)))
            faults.append(Fault(name, "", "has no place in a pack", f"a pack holds {what}"))
    yield from (name for name in LISTS if name in entries and entries[name].is_file())
    for name in FOLDERS:
        if name in entries and entries[name].is_dir():
            for path, entry in _entries(folder / name, f"{name}/", faults).items():
                if entry.is_file() and path.endswith(".json"):
                    yield path
                else:
                    faults.append(Fault(path, "", "is no document", "put a .json file there, or take it away"))


def _entries(folder: Path, prefix: str, faults: list[Fault]) -> dict[str, os.DirEntry[str]]:
    """Return what lies in a folder by name; hidden files, notes and code are passed over, links refused."""
    found: dict[str, os.DirEntry[str]] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = prefix + entry.name
            if entry.name.startswith((".", "_")) or entry.name in _BESIDE or entry.name.endswith(".md"):
                continue
            if entry.is_symlink():
                faults.append(Fault(name, "", "is a link", "put the file itself into the pack"))
            else:
                found[name] = entry
    return found


def read_file(path: Path) -> bytes:
    """Return what a file holds that may be a document.

    Raises:
        DocumentRefused: it is no file, cannot be read, or is too large.
    """
    faults: list[Fault] = []
    content = _content(path, str(path), MAX_FILE_BYTES, faults, follows_links=True)
    if content is None:
        raise DocumentRefused(faults)
    return content


def _content(path: Path, name: str, limit: int, faults: list[Fault], *, follows_links: bool = False) -> bytes | None:
    try:
        return read_regular(path, max_bytes=limit, follows_links=follows_links)
    except Unreadable as fault:
        faults.append(Fault(name, "", str(fault), _FIXES[fault.rule]))
        return None
