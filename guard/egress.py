"""Egress: which outside hosts may be reached; what is not listed is not.

A name is judged before it is looked up and each address it stands for before a connection is made, so that a public
name cannot lead inside. Policies narrow each other: what leaves must be allowed by all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

PRIVATE_LINK = "privatelink:"
_NO_ENDPOINT = "an endpoint is an https URL of a host, without a user in it"
_DEFAULT_PORTS = {"https": 443, "http": 80}
_EMBEDS_IPV4 = (ip_network("64:ff9b::/96"), ip_network("2002::/16"), ip_network("::/96"))
"""IPv6 networks whose addresses stand for IPv4 ones: what they lead to cannot be told from outside."""


class EgressDenied(Exception):
    """An address that may not be reached; the message says what would let it."""


@dataclass(frozen=True)
class EgressRule:
    """What one policy allows.

    Attributes:
        hosts: names that public traffic may go to: `erp.example.com`, `erp.example.com:8443`, or `*.example.com` for
            all names under it. Without a port the scheme's own one is meant.
        private_links: networks per private link.
        is_loopback_allowed: whether this machine itself may be reached, on any port, without TLS.
    """

    hosts: frozenset[str] = frozenset()
    private_links: tuple[tuple[str, tuple[IPv4Network | IPv6Network, ...]], ...] = ()
    is_loopback_allowed: bool = False

    @classmethod
    def from_policy(cls, stated: Mapping[str, Any]) -> "EgressRule":
        """Return the rule that a policy's `egress` states.

        Raises:
            ValueError: it states what is none; nothing may leave then.
        """
        if unknown := sorted(stated.keys() - {"hosts", "private_links", "loopback"}):
            raise ValueError(f"egress knows no {', '.join(unknown)}; it has hosts, private_links and loopback")
        return cls(
            frozenset(str(host).lower() for host in stated.get("hosts", ())),
            tuple(
                (name, tuple(ip_network(network) for network in networks))
                for name, networks in sorted(stated.get("private_links", {}).items())
            ),
            stated.get("loopback") is True,
        )

    def allows_host(self, host: str, port: int, default_port: int) -> bool:
        names = {host, *(f"*.{part}" for part in _parents(host))}
        return any(f"{name}:{port}" in self.hosts or (port == default_port and name in self.hosts) for name in names)

    def networks(self, link: str) -> tuple[IPv4Network | IPv6Network, ...]:
        return dict(self.private_links).get(link, ())


@dataclass(frozen=True)
class Egress:
    """What all policies together allow; without a policy nothing is."""

    rules: tuple[EgressRule, ...] = ()

    @classmethod
    def from_policies(cls, stated: Sequence[Mapping[str, Any]]) -> "Egress":
        return cls(tuple(map(EgressRule.from_policy, stated)))

    @property
    def is_loopback_allowed(self) -> bool:
        return bool(self.rules) and all(rule.is_loopback_allowed for rule in self.rules)

    def check_url(self, url: str, *, link: str | None = None) -> SplitResult:
        """Return the parts of a URL whose host may be reached, as far as its name tells.

        Args:
            link: the private link that a binding names as its way out.

        Raises:
            EgressDenied: it may not be reached.
        """
        try:
            parts = urlsplit(url)
            host, stated_port = (parts.hostname or "").lower(), parts.port
        except ValueError:  # brackets that are left open, a port that is none
            raise EgressDenied(_NO_ENDPOINT) from None
        default_port = _DEFAULT_PORTS.get(parts.scheme)
        if not host or default_port is None or parts.username is not None:
            raise EgressDenied(_NO_ENDPOINT)
        port = stated_port or default_port
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            if not self.is_loopback_allowed:
                raise EgressDenied(f"{host} is this machine; a security policy has to set egress.loopback")
        elif link is None:
            if parts.scheme != "https":
                raise EgressDenied(f"{host} would be reached without TLS; use https")
            if not self.rules or not all(rule.allows_host(host, port, default_port) for rule in self.rules):
                raise EgressDenied(f"{host}:{port} is not listed under egress.hosts of the security policies in force")
        if address is not None:
            self.check_address(host, address, link=link)
        return parts

    def check_address(self, host: str, address: str | IPv4Address | IPv6Address, *, link: str | None = None) -> None:
        """Return if `host` may be reached at `address`.

        Raises:
            EgressDenied: it may not.
        """
        found = ip_address(address) if isinstance(address, str) else address
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        named = _address(host)
        if found.is_loopback and self.is_loopback_allowed and (host == "localhost" or named is not None):
            return
        if link is not None:
            if not self.rules or not all(any(found in net for net in rule.networks(link)) for rule in self.rules):
                raise EgressDenied(f"{host} is at {found}, which egress.private_links does not list for {link}")
        elif not found.is_global or found.is_multicast or any(found in network for network in _EMBEDS_IPV4):
            raise EgressDenied(f"{host} is at {found}, which is no public address; a private one needs a private link")


def private_link(network: Mapping[str, Any] | None) -> str | None:
    """Return the private link that a binding's `network` names, None where it names none.

    Raises:
        EgressDenied: its egress is of an unknown kind.
    """
    egress = (network or {}).get("egress")
    if egress is None:
        return None
    if not isinstance(egress, str) or not egress.startswith(PRIVATE_LINK):
        raise EgressDenied(f"network.egress is no way out; write it as {PRIVATE_LINK}NAME")
    return egress.removeprefix(PRIVATE_LINK)


def _parents(host: str) -> list[str]:
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels))]


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
