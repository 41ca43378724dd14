"""Warns if a proxy claims https but the server does not accept the claim, so cookies lack `Secure`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .headers import SECURE, Headers

logger = logging.getLogger(__name__)


@dataclass
class ProxyWarning:
    """Warns once in the life of the app."""

    was_given: bool = False

    def check(self, scope: Mapping[str, Any], headers: Headers) -> None:
        """If the proxy claims https without effect, log the reason and the remedy."""
        claim = None if self.was_given or scope["scheme"] in SECURE else claim_of_https(headers)
        if claim is None:
            return
        self.was_given = True
        remedies = []
        if headers[b"x-forwarded-proto"] != ["https"]:
            remedies.append("let the proxy set X-Forwarded-Proto once, to the single value https")
        client = scope.get("client")
        if client is None:
            remedies.append("set FORWARDED_ALLOW_IPS=*, because a proxy behind a Unix socket has no address")
        elif client[0] not in ", ".join(headers[b"x-forwarded-for"]):  # otherwise the server trusts the proxy already
            remedies.append(
                "make sure that FORWARDED_ALLOW_IPS has the proxy's address: "
                f"the server sees this request come from {client[0]}"
            )
        logger.warning(
            "A proxy sent %.200r, but the server did not accept it, so cookies are sent without Secure. Remedy: %s.",
            claim,
            "; ".join(remedies),
        )


def claim_of_https(headers: Headers) -> str | None:
    """Return the header that claims https, alone or in a list, in upper or lower case. Return None if none does."""
    for value in headers[b"x-forwarded-proto"]:
        if "https" in [item.strip().lower() for item in value.split(",")]:
            return f"X-Forwarded-Proto: {', '.join(headers[b'x-forwarded-proto'])}"
    for value in headers[b"forwarded"]:
        if "proto=https" in value.lower().replace('"', ""):
            return f"Forwarded: {value}"
    return None
