"""Egress: what may be reached is listed, by name before the look-up and by address after it."""

import pytest

from guard.egress import Egress, EgressDenied, private_link

OPEN = Egress.from_policies([{"hosts": ["erp.example.com", "api.example.com:8443", "*.corp.example.net"]}])
LINKED = Egress.from_policies([{"private_links": {"sap-prod": ["10.1.2.0/24", "fd00:1::/64"]}}])
LOOPBACK = Egress.from_policies([{"loopback": True}])


@pytest.mark.parametrize(
    "url",
    [
        "https://erp.example.com/api",
        "https://ERP.example.com",
        "https://api.example.com:8443/x",
        "https://a.corp.example.net/",
        "https://a.b.corp.example.net/",
    ],
)
def test_what_is_listed_may_be_reached(url: str) -> None:
    """A system that the policy lists would be out of reach."""
    assert OPEN.check_url(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://erp.example.com.evil.test",
        "https://evil.test/erp.example.com",
        "https://erp.example.com:8443",
        "https://api.example.com",
        "https://corp.example.net",
        "https://xcorp.example.net",
        "http://erp.example.com",
        "https://erp.example.com@evil.test",
        "https://user@erp.example.com",
        "ftp://erp.example.com",
        "https://erp.example.com:99999",
        "https://[erp.example.com",
        "https://",
        "file:///etc/passwd",
        "https://localhost",
        "https://127.0.0.1",
        "https://[::1]",
        "https://169.254.169.254",
        "https://10.1.2.3",
    ],
)
def test_what_is_not_listed_may_not_be_reached(url: str) -> None:
    """A binding would send the company's data wherever it likes."""
    with pytest.raises(EgressDenied):
        OPEN.check_url(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00:1::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_a_public_name_does_not_lead_inside(address: str) -> None:
    """A name's owner points it at the metadata service or an inner host, and the platform asks it."""
    with pytest.raises(EgressDenied, match=r"erp\.example\.com is at"):
        OPEN.check_address("erp.example.com", address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_a_public_address_is_taken(address: str) -> None:
    """Nothing could be reached."""
    OPEN.check_address("erp.example.com", address)


def test_a_private_link_reaches_its_own_networks_only() -> None:
    """A link to one system would be a way to all of the inner network."""
    LINKED.check_url("http://sap.internal:8000/x", link="sap-prod")
    LINKED.check_address("sap.internal", "10.1.2.200", link="sap-prod")
    LINKED.check_address("sap.internal", "fd00:1::7", link="sap-prod")
    for address, link in (("10.1.3.1", "sap-prod"), ("10.1.2.200", "other"), ("93.184.216.34", "sap-prod")):
        with pytest.raises(EgressDenied):
            LINKED.check_address("sap.internal", address, link=link)
    with pytest.raises(EgressDenied):
        LINKED.check_address("sap.internal", "10.1.2.200")


def test_this_machine_is_reached_only_where_a_policy_says_so() -> None:
    """Whatever listens on the host without a password would be open to every binding."""
    LOOPBACK.check_url("http://127.0.0.1:8000/")
    LOOPBACK.check_address("localhost", "127.0.0.1")
    with pytest.raises(EgressDenied):
        LOOPBACK.check_address("erp.example.com", "127.0.0.1")
    with pytest.raises(EgressDenied):
        LOOPBACK.check_url("https://erp.example.com")


def test_policies_narrow_each_other_and_none_permits_nothing() -> None:
    """A policy of a department would widen what the company allows."""
    both = Egress.from_policies([{"hosts": ["a.example", "b.example"], "loopback": True}, {"hosts": ["b.example"]}])
    both.check_url("https://b.example")
    for egress, url in ((both, "https://a.example"), (both, "http://127.0.0.1"), (Egress(), "https://b.example")):
        with pytest.raises(EgressDenied):
            egress.check_url(url)


def test_a_policy_that_states_something_else_is_refused() -> None:
    """A misspelt rule would be taken for one that allows nothing, or all."""
    with pytest.raises(ValueError, match="knows no host"):
        Egress.from_policies([{"host": ["a.example"]}])


def test_a_binding_names_its_private_link() -> None:
    """A way out that nobody knows would be taken for the public one."""
    assert private_link({"egress": "privatelink:sap-prod"}) == "sap-prod"
    assert private_link(None) is None
    with pytest.raises(EgressDenied):
        private_link({"egress": "tunnel:sap-prod"})
