"""The dbt sources say of every table what lake/tables says."""

from lake.describe import describe, differences
from lake.transform import PROJECT

SOURCES = PROJECT / "models" / "staging" / "_sources.yml"


def test_the_dbt_sources_are_what_the_tables_state() -> None:
    """A model would be written against columns that the lake does not have, or documented with yesterday's meaning."""
    written = SOURCES.read_text()
    drift = differences(describe(), written)
    assert not drift, "\n".join(["run `python -m lake.describe` and write the sources again:", *drift])
    assert written == describe()


def test_a_drift_is_named_in_both_directions() -> None:
    """A diff that names only what is missing hides what nobody states any more."""
    stated = describe()
    written = (
        stated.replace("- name: reward\n", "- name: rewards\n")
        .replace("    - name: seq\n", "    - name: seq\n      tests: []\n")
        .replace("data_type: boolean", "data_type: varchar")
    )

    drift = differences(stated, written)

    assert "step_run.reward: only in lake/tables" in drift
    assert "step_run.rewards: only in _sources.yml" in drift
    assert [line.split(":")[0] for line in drift if "boolean" in line] == [
        "gate_decision.is_passed",
        "schema_consumer.is_allowed",
        "schema_consumer.is_compatible",
        "schema_consumer.is_declared",
        "schema_consumer.is_latest",
        "skill_node.is_generator",
    ]
    assert len(drift) == 8
