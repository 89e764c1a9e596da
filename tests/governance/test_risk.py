"""Risk: four factors, each by what the home has recorded, put together by arithmetic that anybody can repeat."""

import itertools
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from scipy.stats import binomtest

from governance.case import open_case
from governance.risk import Risk, assess_risk, combine, wilson_upper
from governance.rules import DEFAULT_WEIGHTS, FACTORS, PublishingRules, load_rules
from lake.tables import PUBLICATION_QUEUE
from registry.documents import Policy, read_document
from registry.loader import PACK
from registry.proposals import find
from registry.versions import NewVersion, write_versions
from tests.governance.world import INVOICES, NOW, VENDORS, Governed, narrower

QUARTER = dict.fromkeys(FACTORS, Decimal("0.25"))


def risk_of(governed: Governed, publication_id: str) -> Risk:
    with governed.registry.read() as connection:
        rules = load_rules(connection, now=NOW)
        case = open_case(connection, find(connection, publication_id)[0], rules, now=NOW)
    return assess_risk(case, governed.lake, now=NOW)


def rules_with(governed: Governed, **spec: Any) -> PublishingRules:
    """Return the rules with one more publishing policy in force."""
    document = {"policy_id": "POL-MORE", "scope": "publishing", "spec": spec}
    received = read_document(Policy, json.dumps(document), name="more")
    with governed.registry.transaction() as connection:
        write_versions(connection, [NewVersion(received, "1", "initial", "bootstrap", "t")], actor="t", now=NOW)
        return load_rules(connection, now=NOW)


# -- Arithmetic ---------------------------------------------------------------------------------------------------


def test_the_score_is_one_minus_the_product() -> None:
    """By hand: 1 - 0.75 * 0.8125 * 0.85 * 1 = 0.48203125, to the last digit."""
    values = dict(zip(FACTORS, map(Decimal, ("1", "0.75", "0.6", "0")), strict=True))
    score, shares = combine(values, QUARTER)
    assert score == Decimal("0.48203125")
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["historical_error"] == 0
    assert shares["blast_radius"] > shares["sensitivity"] > shares["privilege"]


def test_no_factor_hides_another() -> None:
    """A proposal would become safer by touching more."""
    steps = [Decimal(number) / 4 for number in range(5)]
    for values in itertools.product(steps, repeat=4):
        given = dict(zip(FACTORS, values, strict=True))
        score, _ = combine(given, QUARTER)
        assert 0 <= score <= 1
        for name in FACTORS:
            if given[name] < 1:
                assert combine({**given, name: given[name] + Decimal("0.25")}, QUARTER)[0] > score


def test_what_is_certain_is_the_whole_reason() -> None:
    """The logarithm of nothing left would end the gate, and with it every proposal behind this one."""
    score, shares = combine(dict.fromkeys(FACTORS, Decimal(1)), {**QUARTER, "privilege": Decimal(1)})
    assert (score, shares["privilege"]) == (1, 1.0)


@pytest.mark.parametrize(("failed", "run"), [(0, 1), (0, 299), (2, 4303), (5, 10), (10, 10), (1, 1000)])
def test_the_bound_of_errors_is_wilsons(failed: int, run: int) -> None:
    """Against scipy's interval."""
    peer = binomtest(failed, run).proportion_ci(0.95, method="wilson").high
    assert float(wilson_upper(failed, run)) == pytest.approx(peer, abs=1e-12)


def test_without_a_history_errors_count_as_certain() -> None:
    """What never ran would look like what never fails."""
    assert wilson_upper(0, 0) == 1


# -- Bands and policies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "band"),
    [
        ("0", "low"),
        ("0.1499999999", "low"),
        ("0.15", "med"),
        ("0.2999999999", "med"),
        ("0.3", "high"),
        ("0.4", "high"),
        ("0.40000000000000001", "over"),
        ("1", "over"),
    ],
)
def test_a_score_has_its_band_unrounded(governed: Governed, score: str, band: str) -> None:
    """Two decimals would let 0.404 pass a threshold of 0.40."""
    with governed.registry.read() as connection:
        assert load_rules(connection, now=NOW).band(Decimal(score)) == band


def test_of_several_policies_the_strictest_holds(governed: Governed) -> None:
    """A second policy would loosen the first one."""
    stricter = {"risk_threshold": 0.2, "min_confidence": 0.99, "blocked_categories": ["ledger.write"]}
    rules = rules_with(governed, **stricter, risk_weights={"privilege": 0.9}, risk_bands={"med": 0.5, "high": 0.1})
    assert (rules.threshold, rules.min_confidence) == (Decimal("0.2"), Decimal("0.99"))
    assert rules.blocked == {"payments.write", "ledger.write"}
    assert rules.weights == {**DEFAULT_WEIGHTS, "privilege": Decimal("0.9")}
    assert rules.bands == {"med": Decimal("0.15"), "high": Decimal("0.1")}


def test_a_laxer_policy_loosens_nothing(governed: Governed) -> None:
    """Whoever may publish a policy could wave everything through beside the one that forbids it."""
    with governed.registry.read() as connection:
        before = load_rules(connection, now=NOW)
    laxer = {"risk_threshold": 1, "min_confidence": 0, "require_tests": False, "blocked_categories": []}
    zero = dict.fromkeys(FACTORS, 0)
    assert rules_with(governed, **laxer, risk_weights=zero, privilege={"write": 0}, sensitivity={"pii": 0}) == before


@pytest.mark.parametrize("unreadable", ["0.9", None, True, -1, 1.5, []])
def test_what_cannot_be_read_counts_as_the_strictest(governed: Governed, unreadable: Any) -> None:
    """A mistyped threshold would switch the gate off."""
    rules = rules_with(governed, risk_threshold=unreadable, min_confidence=unreadable, blocked_categories=5)
    assert (rules.threshold, rules.min_confidence) == (0, 1)
    assert rules.blocks(["message.send", "*"]) == ["*"]


# -- What a home has recorded -------------------------------------------------------------------------------------


def test_a_narrow_workflow_touches_the_episodes_of_its_events(governed: Governed) -> None:
    """One vendor of four: a quarter of the episodes, though none of them was its own."""
    risk = risk_of(governed, governed.propose(narrower()))
    assert risk.factors["blast_radius"].value == Decimal(1) / VENDORS
    assert (risk.touched.touched, risk.touched.run) == (INVOICES // VENDORS, INVOICES // VENDORS)
    assert risk.factors["sensitivity"].value == Decimal("0.75"), "the topic has a member that is personal"
    assert risk.factors["privilege"].value == Decimal("0.6"), "it writes to the ledger"
    peer = binomtest(risk.touched.failed, INVOICES // VENDORS).proportion_ci(0.95, method="wilson").high
    assert float(risk.factors["historical_error"].value) == pytest.approx(peer)
    left = Decimal(1)
    for name in FACTORS:
        left *= 1 - Decimal("0.25") * risk.factors[name].value
    assert risk.score == 1 - left
    assert risk.band == "high"


def test_a_change_of_the_whole_workflow_touches_everything(governed: Governed) -> None:
    """The same stricter check for every vendor is another risk, and above the threshold."""
    document = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
    document["steps"][1]["parameters"]["tolerance"] = 0.03
    risk = risk_of(governed, governed.propose(document))
    assert (risk.factors["blast_radius"].value, risk.band) == (1, "over")


def test_what_is_older_than_the_window_does_not_count(governed: Governed) -> None:
    """A workflow that ran once, years ago, would look harmless beside what has run since."""
    publication_id = governed.propose(narrower())
    with governed.registry.read() as connection:
        rules = load_rules(connection, now=NOW)
        case = open_case(connection, find(connection, publication_id)[0], rules, now=NOW)
    later = NOW + timedelta(days=100)
    risk = assess_risk(case, governed.lake, now=later)
    assert risk.touched.episodes == 0
    assert (risk.factors["blast_radius"].value, risk.factors["historical_error"].value) == (1, 1)


def test_a_policy_that_no_episode_runs_through_is_as_risky_as_its_privilege(governed: Governed) -> None:
    """Changing who decides is a privilege; counting every episode with it would let no policy ever change."""
    policy = json.loads((PACK / "policies/POL-PUBLISH-001.json").read_text())
    risk = risk_of(governed, governed.propose({**policy, "policy_name": "Other words"}, kind=Policy))
    assert risk.score == Decimal("0.25")
    assert risk.band == "med"


def test_the_score_is_stored_rounded_up(governed: Governed) -> None:
    """0.33731... is stored as 0.3374: what is read back never looks safer than it was."""
    publication_id = governed.propose(narrower())
    governed.judge()
    risk = risk_of(governed, publication_id)
    row = governed.registry.frame(PUBLICATION_QUEUE).filter(publication_id=publication_id).row(0, named=True)
    stored = Decimal(repr(row["risk_score"]))
    assert stored == risk.stored
    assert 0 <= stored - risk.score < Decimal("0.0001")
    assert row["risk_band"] == "high"
