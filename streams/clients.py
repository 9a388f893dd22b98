"""kafka-python's clients for commands: connected as the settings say.

What goes wrong within the `with` block of one, beginning with the connection, leaves it as a BrokerFault.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import AuthorizationError, KafkaConnectionError, KafkaError, KafkaTimeoutError

from security.refusal import refused_for_good, why_refused
from security.settings import SecurityError
from streams.settings import Settings

_BOOTSTRAP_MS: Final = 10_000
"""How long a command tries to reach a broker before it says why it could not."""


class BrokerFault(KafkaError):  # type: ignore[misc]
    """The brokers cannot be used, or do not do it; the message is a sentence that says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self._sentence = sentence

    def __str__(self) -> str:
        return self._sentence


@contextmanager
def producer(settings: Settings, **more: Any) -> Iterator[KafkaProducer]:
    """A producer that waits for all replicas, closed at the end of the block. Raises BrokerFault."""
    with _connected(settings, KafkaProducer, acks="all", **more) as client:
        yield client


@contextmanager
def consumer(settings: Settings, **more: Any) -> Iterator[KafkaConsumer]:
    """A consumer that commits nothing, closed at the end of the block. Raises BrokerFault."""
    with _connected(settings, KafkaConsumer, enable_auto_commit=False, **more) as client:
        yield client


@contextmanager
def admin(settings: Settings, **more: Any) -> Iterator[KafkaAdminClient]:
    """An administrator's client, closed at the end of the block. Raises BrokerFault."""
    with _connected(settings, KafkaAdminClient, **more) as client:
        yield client


@contextmanager
def _connected(settings: Settings, kind: Any, **more: Any) -> Iterator[Any]:
    access = settings.broker_access
    try:
        # kafka-python tries a wrong password again and again, and leaves a connection open each time.
        if access.security.ca_file is not None and (lasting := refused_for_good(access)) is not None:
            raise BrokerFault(f"No broker can be used at {settings.brokers} (LACAK_BROKERS): {lasting}.")
        client = kind(**access.arguments(), bootstrap_timeout_ms=_BOOTSTRAP_MS, **more)
    except SecurityError as error:
        raise BrokerFault(str(error)) from error
    except (KafkaError, OSError) as error:
        if isinstance(error, BrokerFault):
            raise
        why = why_refused(access)
        raise BrokerFault(f"No broker can be used at {settings.brokers} (LACAK_BROKERS): {why}.") from error
    try:
        yield client
    except BrokerFault:
        raise
    except KafkaError as error:
        raise BrokerFault(_words(settings, error)) from error
    finally:
        client.close()


def _words(settings: Settings, error: KafkaError) -> str:
    if isinstance(error, AuthorizationError):
        who = settings.broker_access.user or "whoever connects without a login"
        return (
            f"The brokers at {settings.brokers} do not let {who} do this ({type(error).__name__}): "
            "`lacak secure grants` shows who may."
        )
    if isinstance(error, KafkaConnectionError | KafkaTimeoutError):
        return f"No broker can be used at {settings.brokers}: {why_refused(settings.broker_access)}."
    return f"The brokers at {settings.brokers} do not do it: {error}."
