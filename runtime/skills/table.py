"""The skill table of a home: the adapters of all kinds, asked in turn."""

from collections.abc import Sequence

from registry.documents import RuntimeBinding
from runtime.protocol import Skill, SkillTable


class Skills:
    """Finds an adapter in the first table that has it."""

    def __init__(self, tables: Sequence[SkillTable]) -> None:
        self._tables = tables

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        """Return the adapter that a binding names, None where no table has it."""
        for table in self._tables:
            if skill := table.find(skill_id, binding):
                return skill
        return None
