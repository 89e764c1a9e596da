"""Workflows as Mermaid flowcharts: the shipped one word for word, and any text in them as text."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.diagrams import graph_of, to_mermaid
from registry.diagrams.words import condition_in_words, shortened, step_in_words
from registry.documents import StepAction, Workflow, read_document
from registry.loader import PACK
from registry.steps import parse_logic
from tests.browser import evaluated, installed
from tests.workflows import workflow, workflows

NASTY = [
    '"]; click n0 "javascript:alert(1)"',
    "<script>alert(1)</script>",
    "a|b",
    "#quot;",
    "`**x**`",
    "end",
    "%%x",
    "発注 ü 🎉",
]

WF_FIN_001 = """\
flowchart LR
    n0(["ap.invoice.received"])
    n1["<b>F-01</b> Extract: vendor id, amount, po id<br>SK-OCR-001"]
    n2["<b>F-02</b> Check: po match<br>SK-LOGIC-003"]
    n3{"?"}
    n4["<b>F-03</b> Hand off: PO MISMATCH, FA-M-001<br>SK-COMM-004"]
    n5{{"waits"}}
    n6(["Timed out"])
    n7{"?"}
    n8(["End"])
    n9["<b>F-04</b> Call: SAP, Book Invoice<br>SK-ERP-002"]
    n10["<b>F-05</b> Notify: email, vendor, invoice booked<br>SK-COMM-005"]
    n11(["End"])
    n0 --> n1
    n1 -.->|"on error"| n4
    n1 --> n2
    n2 -.->|"on error"| n4
    n2 --> n3
    n3 -->|"pass is true"| n9
    n3 -->|"pass is false"| n4
    n4 --> n5
    n5 -.->|"after 72 h"| n6
    n5 -->|"handoff.decided"| n7
    n7 -->|"decision is approved"| n9
    n7 -->|"decision is rejected"| n8
    n9 --> n10
    n10 --> n11
"""


def test_the_shipped_workflow_is_drawn_as_by_hand() -> None:
    """A way, a condition or a dashed line would be missing or wrong in every picture."""
    text = (PACK / "workflows/WF-FIN-001.json").read_bytes()
    shipped = read_document(Workflow, text, name="WF-FIN-001").body
    assert to_mermaid(graph_of(shipped)) == WF_FIN_001


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("pass==true", "pass is true"),
        ('event.decision=="approved"', "decision is approved"),
        ("output.amount > 100.0 && !trigger.urgent", "amount > 100.0 and not trigger.urgent"),
        ("!(a || b)", "not (a or b)"),
        ("amount>=5&&amount<=10", "amount ≥ 5 and amount ≤ 10"),
        ("x != 'a && b'", "x is not a && b"),
        ('"" == name', "empty is name"),
        ("size(items) > 3", "size(items) > 3"),
    ],
)
def test_a_condition_is_said_in_words(expression: str, words: str) -> None:
    """People who decide on a workflow would have to read CEL."""
    assert condition_in_words(expression) == words


def test_long_texts_are_cut_with_a_sign() -> None:
    """A paragraph in a parameter would make a box of the size of the picture."""
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("one two\nthree", 9) == "one two…"


def test_expressions_are_no_part_of_what_a_step_does() -> None:
    """`${trigger.invoice_uri}` says nothing to a reader of the picture."""
    step = StepAction(
        step_id="A",
        sequence=1,
        action_type="notify",
        skill_id="S",
        parameters={"to": "${trigger.mail}", "channel": "e_mail", "copies": 3},
        next_step_logic="END",
    )
    assert step_in_words(step) == "Notify: e mail"


@pytest.mark.parametrize("text", NASTY)
def test_text_in_a_workflow_is_never_read_as_mermaid(text: str) -> None:
    """A parameter could end a label, add a link, or break the picture."""
    step = {"step_id": "A", "parameters": {"text": text}, "next_step_logic": {"goto": "END"}}
    drawn = to_mermaid(graph_of(workflow(step)))
    (label,) = re.findall(r'\["<b>A</b> Call: (.*)<br>SK-TEST-001"\]', drawn)
    assert not set(label) & set('"<>|[]{}()`%&;#') - {"#", ";"}
    assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label) == text.replace("_", " ")
    assert len(drawn.splitlines()) == 1 + 3 + 2


@given(workflows())
def test_every_step_of_any_workflow_is_one_box(drawn: Workflow) -> None:
    """A step would be missing, or stand twice as if it ran twice; what undoes may stand once more."""
    boxes = Counter(re.findall(r'\["<b>(.*?)</b>', to_mermaid(graph_of(drawn))))
    undoes = Counter(parse_logic(step.next_step_logic).compensate for step in drawn.steps)
    for step in drawn.steps:
        assert 1 <= boxes[step.step_id] <= 1 + undoes[step.step_id]


@settings(max_examples=2)
@given(
    st.lists(
        workflows(text=st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))),
        min_size=12,
        max_size=12,
    )
)
def test_mermaid_itself_reads_whatever_is_drawn(drawn: list[Workflow]) -> None:
    """GitHub, an editor or a wiki would show an error in the place of the picture."""
    script = installed("mermaid") / "dist/mermaid.min.js"
    with TemporaryDirectory() as folder:
        answers = evaluated(
            Path(folder),
            [script],
            """
            const answers = [];
            for (const text of given) {
                answers.push(await mermaid.parse(text).then(parsed => parsed.diagramType, String));
            }
            return answers;
            """,
            [to_mermaid(graph_of(item)) for item in drawn],
        )
    assert set(answers) == {"flowchart-v2"}


def test_mermaid_shows_text_as_it_stands(tmp_path: Path) -> None:
    """A text would be shown with entity numbers, cut, or run as HTML."""
    steps = [
        {"step_id": f"S-{n}", "parameters": {"text": text}, "next_step_logic": {"goto": f"S-{n + 1}"}}
        for n, text in enumerate(NASTY)
    ]
    drawn = to_mermaid(graph_of(workflow(*steps, {"step_id": f"S-{len(NASTY)}", "next_step_logic": "END"})))
    shown = evaluated(
        tmp_path,
        [installed("mermaid") / "dist/mermaid.min.js"],
        """
        const {svg} = await mermaid.render('drawn', given);
        const canvas = document.getElementById('canvas');
        canvas.innerHTML = svg;
        return [...canvas.querySelectorAll('.nodeLabel')].map(label => label.textContent);
        """,
        drawn,
    )
    for text in NASTY:
        assert any(f"Call: {text.replace('_', ' ')}" in label for label in shown), text
