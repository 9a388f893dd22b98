"""How a process connects to the brokers: the one place that knows what each Kafka client is to be told.

aiokafka and kafka-python take the same arguments under the same names. Faust's own producer, consumer and client take a
credentials object, of which `faust.transport.drivers.aiokafka` makes aiokafka's arguments again; our consumer thread
(streams.threads) takes them from here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from security.files import read_password, tls_context
from security.settings import BrokerSecurity, SecurityError, path_of, text_of

PREFIX: Final = "LACAK_SECURITY_"


class BrokerAccess(msgspec.Struct, frozen=True):
    """Brokers, and how a role connects to them. Each method reads the files anew and raises SecurityError."""

    brokers: str
    security: BrokerSecurity = BrokerSecurity()
    role: str = ""

    @property
    def addresses(self) -> list[str]:
        """`host:port` of each broker."""
        return [address.strip() for address in self.brokers.split(",") if address.strip()]

    @property
    def user(self) -> str:
        """Who logs in; empty where nobody does."""
        return "" if self.security.password_file is None else text_of(self.security.user, self.role)

    def arguments(self) -> dict[str, Any]:
        """What aiokafka's and kafka-python's clients take, the brokers' addresses among it."""
        return {"bootstrap_servers": self.addresses, **self.credentials()}

    def credentials(self) -> dict[str, Any]:
        """The same without the addresses. Empty for brokers in the clear."""
        security, role = self.security, self.role
        ca = path_of(security.ca_file, role)
        if ca is None:
            for name in ("password_file", "certificate_file", "key_file"):
                if getattr(security, name) is not None:
                    raise SecurityError(
                        f"{PREFIX}{name.upper()} needs {PREFIX}CA_FILE: without TLS anybody could answer as a broker."
                    )
            return {}
        context = tls_context(ca, path_of(security.certificate_file, role), path_of(security.key_file, role), PREFIX)
        if security.password_file is None:
            return {"security_protocol": "SSL", "ssl_context": context}
        password_file = path_of(security.password_file, role)
        assert password_file is not None
        return {
            "security_protocol": "SASL_SSL",
            "ssl_context": context,
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": self.user,  # so named for SCRAM too; nothing is sent in plain
            "sasl_plain_password": read_password(password_file, f"{PREFIX}PASSWORD_FILE"),
        }

    def faust(self) -> Any:
        """What Faust takes as `broker_credentials`; None for brokers in the clear."""
        given = self.credentials()
        if not given:
            return None
        from faust import SASLCredentials, SSLCredentials  # gateways and commands do without Faust

        if "sasl_mechanism" not in given:
            return SSLCredentials(given["ssl_context"])
        return SASLCredentials(
            username=given["sasl_plain_username"],
            password=given["sasl_plain_password"],
            ssl_context=given["ssl_context"],
            mechanism=given["sasl_mechanism"],
        )
