"""Why brokers cannot be reached: one connection to each, step by step, and what went wrong in a sentence.

Clients say only that they could not connect: what TLS or the login failed for stands in their logs, if anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from security.brokers import PREFIX, BrokerAccess
from security.settings import SecurityError

ANSWERS: Final = "a broker answers now"
_SECONDS: Final = 5.0
_A_MOMENT: Final = 0.02
_VERIFY_CODES: Final = {
    9: "the certificate is not valid yet: is the clock right?",
    10: "the certificate has expired",
    18: "the certificate signs itself, and is not in {ca}",
    19: "the certificate is not signed by an authority in {ca}",
    20: "the certificate is not signed by an authority in {ca}",
    62: "the certificate does not name this host",
    64: "the certificate does not name this address",
}
"""OpenSSL's X509_V_ERR numbers in words."""


_ASKING: ContextVar[bool] = ContextVar("asking", default=False)
logging.getLogger("aiokafka.conn").addFilter(lambda _: not _ASKING.get())  # what it would log is told by us


class Fault(NamedTuple):
    """What is wrong with one broker, and whether trying again is no use: a wrong password, a certificate."""

    words: str
    lasting: bool


def why_refused(access: BrokerAccess) -> str:
    """Why the brokers cannot be reached, without a full stop; ANSWERS, if one can. Takes some seconds at most.

    May be called with a running event loop, which it holds up: `explain` does not.
    """
    return _in_a_thread(explain(access)) or "it is not known why"


def refused_for_good(access: BrokerAccess) -> str | None:
    """As why_refused, where every broker refuses us and will again; None where one answers or may later."""
    return _in_a_thread(_lasting(access))


def _in_a_thread(question: Coroutine[Any, Any, str | None]) -> str | None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(question)), daemon=True)
    thread.start()
    thread.join()
    return found[0] if found else None


async def explain(access: BrokerAccess) -> str:
    """As why_refused."""
    try:
        faults = await _faults(access)
    except SecurityError as error:
        return str(error).rstrip(".")
    if not faults:
        return "no address is given: LACAK_BROKERS"
    return ANSWERS if None in faults else _together(access, faults)


async def reason(access: BrokerAccess, error: BaseException) -> str:
    """What a gateway's log says of an error, in some words: where TLS is spoken, what came in its way."""
    if isinstance(error, SecurityError):
        return str(error).rstrip(".")
    name = type(error).__name__
    if access.security.ca_file is None:
        return name
    why = await explain(access)
    return name if why == ANSWERS else f"{name}: {why}"


async def _lasting(access: BrokerAccess) -> str | None:
    try:
        faults = await _faults(access)
    except SecurityError as error:
        return str(error).rstrip(".")
    lasting = bool(faults) and all(fault is not None and fault.lasting for fault in faults)
    return _together(access, faults) if lasting else None


def _together(access: BrokerAccess, faults: Sequence[Fault | None]) -> str:
    told = zip(access.addresses, faults, strict=True)
    return "; ".join(f"{address}: {fault.words}" for address, fault in told if fault is not None)


async def _faults(access: BrokerAccess) -> Sequence[Fault | None]:
    arguments = access.credentials()
    asking = _ASKING.set(True)
    try:
        return await asyncio.gather(*(_fault(access, address, arguments) for address in access.addresses))
    finally:
        _ASKING.reset(asking)
        await asyncio.sleep(_A_MOMENT)  # connections that came to nothing are closed in the loop's next turns


async def _fault(access: BrokerAccess, address: str, arguments: dict[str, Any]) -> Fault | None:
    """What is wrong with one broker; None: nothing is."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return Fault("an address is HOST:PORT", True)
    try:
        connection = await asyncio.wait_for(
            create_conn(host.strip("[]"), int(port), request_timeout_ms=int(_SECONDS * 1000), **arguments), 2 * _SECONDS
        )
    except (OSError, KafkaError, TimeoutError, ValueError) as error:
        return Fault(_words(access, error), isinstance(error, _LASTING) or isinstance(error.__cause__, _LASTING))
    try:
        await asyncio.wait_for(connection.send(MetadataRequest([])), _SECONDS)  # known to all; a login has to be over
    except (OSError, KafkaError, TimeoutError) as error:
        return Fault(_words(access, error), isinstance(error, _LASTING) or isinstance(error.__cause__, _LASTING))
    finally:
        connection.close()
    return None


_LASTING: Final = (ssl.SSLError, SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)


def _words(access: BrokerAccess, error: BaseException) -> str:
    tls = access.security.ca_file is not None
    match error:
        case ssl.SSLCertVerificationError():
            known = _VERIFY_CODES.get(error.verify_code, f"the certificate cannot be trusted ({error.verify_message})")
            return known.format(ca=f"{PREFIX}CA_FILE")
        case ssl.SSLError():
            return _tls_words(error)
        case ConnectionRefusedError():
            return "nothing listens there"
        case UnsupportedSaslMechanismError():
            return f"it does not take {access.security.mechanism}"
        case SaslAuthenticationFailed():
            return f"it does not know the user {access.user}, or not with the password in {PREFIX}PASSWORD_FILE"
        case IllegalSaslStateError():
            return f"it asks for no login: is it the listener for certificates? Leave {PREFIX}PASSWORD_FILE out"
        case TimeoutError():
            return "it takes a connection and says nothing" + ("" if tls else _IN_THE_CLEAR)
        case ConnectionError() | KafkaError() if not isinstance(error.__cause__, ssl.SSLError):
            if tls:
                return "it ends the connection: does it speak TLS there, and does it want a login or a certificate?"
            return "it ends the connection" + _IN_THE_CLEAR
        case KafkaError():
            return _tls_words(error.__cause__)
        case OSError():
            return (error.strerror or str(error)).lower()
    return str(error)


_IN_THE_CLEAR: Final = f": does it want TLS ({PREFIX}CA_FILE)?"


def _tls_words(error: BaseException | None) -> str:
    text = str(error).upper().replace(" ", "_")
    if "WRONG_VERSION" in text or "UNEXPECTED_EOF" in text or "RECORD_LAYER" in text:
        return "it does not speak TLS there"
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text or "BAD_CERTIFICATE" in text:
        return f"it wants a certificate that it trusts: {PREFIX}CERTIFICATE_FILE and {PREFIX}KEY_FILE"
    if "UNKNOWN_CA" in text or "CERTIFICATE_UNKNOWN" in text or "CERTIFICATE_EXPIRED" in text:
        return (
            f"it does not trust the certificate in {PREFIX}CERTIFICATE_FILE: is it signed by the right authority, "
            "and has it expired?"
        )
    return f"TLS fails ({error})"
