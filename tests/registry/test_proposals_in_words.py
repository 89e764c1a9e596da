"""Proposals in a few words, as the command line and the dashboard say them."""

import pytest

from registry.proposals import in_words


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            '{"type":"update_param","target":"F-02.parameters.tolerance","workflow_id":"WF-1","from":0.05,"value":0.033}',
            "set F-02.parameters.tolerance of WF-1 from 0.05 to 0.033",
        ),
        ('{"workflow_id":"WF-9","workflow_name":"Narrow"}', "workflow WF-9 Narrow"),
        ('{"workflow_id":"WF-9","genome":{"vendors":["V-1","V-2"]}}', "workflow WF-9 for V-1, V-2"),
        ('{"skill_id":"SK-1","skill_name":"Read","workflow":"no"}', "skill SK-1 Read"),
        ('{"subject":"ap.invoice.received"}', "schema of ap.invoice.received"),
        ('{"anything":1}', ""),
    ],
)
def test_a_reader_sees_what_would_change(body: str, said: str) -> None:
    """A reviewer would have to read JSON, or see a name that is not there."""
    assert in_words(body) == said
