"""How a broker is set so that nobody comes in unknown and nobody does what is not granted: Kafka's settings, as data.

Three kinds of listeners. CLIENTS: TLS, and a login by SCRAM. INSIDE and CONTROLLER: TLS where both sides show a
certificate, for brokers among themselves, and for the first administrator, who makes the users that CLIENTS knows.
deploy/compose.secure.yaml says the same in the variables of Kafka's image (tests/test_secure_files.py compares them).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

BROKER_USER: Final = "lacak-broker"
ADMIN_USER: Final = "lacak-admin"

SECURED: Final = {
    "listener.security.protocol.map": "CLIENTS:SASL_SSL,INSIDE:SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "INSIDE",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
    "ssl.principal.mapping.rules": "RULE:^CN=([A-Za-z0-9-]+)$/$1/",
    "listener.name.inside.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.clients.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:{BROKER_USER};User:{ADMIN_USER}",
}
"""What holds wherever the broker runs."""


def broker_properties(server: Path) -> dict[str, str]:
    """The settings of a broker whose key and certificate are in `server`, and its authority in `ca.pem` beside it."""
    return {
        **SECURED,
        "ssl.keystore.location": str(server),
        "ssl.truststore.location": str(server.with_name("ca.pem")),
    }
