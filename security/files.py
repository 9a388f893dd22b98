"""Secrets and certificates from files: each fault is a sentence that names the file and the variable."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from security.settings import SecurityError

_PASSWORD_BYTES_MAX: Final = 4096


def read_password(path: Path, variable: str) -> str:
    """The first and only line of a file. Raises SecurityError."""
    try:
        with path.open("rb") as file:
            data = file.read(_PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        raise SecurityError(f"{variable}: {path} cannot be read ({error.strerror}).") from error
    try:
        password = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SecurityError(f"{variable}: {path} is no text.") from error
    if not password:
        raise SecurityError(f"{variable}: {path} is empty.")
    if len(data) > _PASSWORD_BYTES_MAX or not password.isprintable():
        raise SecurityError(f"{variable}: {path} should hold one line, the password, and nothing else.")
    return password


def check_files(ca: Path, certificate: Path | None, key: Path | None, prefix: str) -> None:
    """Raises SecurityError where a file of a TLS setting is missing, unreadable, or not what it should be."""
    tls_context(ca, certificate, key, prefix)


def tls_context(ca: Path, certificate: Path | None, key: Path | None, prefix: str) -> ssl.SSLContext:
    """A client's context that trusts the authorities of one file, checks host names, and shows a certificate if given.

    `prefix` is that of the variables, such as `LACAK_SECURITY_`. Raises SecurityError.
    """
    if (certificate is None) != (key is None):
        raise SecurityError(f"{prefix}CERTIFICATE_FILE and {prefix}KEY_FILE go together: one is missing.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and host names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(_there(ca, f"{prefix}CA_FILE"))
    except ssl.SSLError as error:
        raise SecurityError(f"{prefix}CA_FILE: {ca} holds no certificates in PEM.") from error
    if certificate is not None and key is not None:
        _there(certificate, f"{prefix}CERTIFICATE_FILE")
        _there(key, f"{prefix}KEY_FILE")
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            why = "the key is not the certificate's" if "MISMATCH" in str(error) else "they are not a pair in PEM"
            raise SecurityError(
                f"{prefix}CERTIFICATE_FILE and {prefix}KEY_FILE: {certificate} and {key} cannot be used: {why}."
            ) from error
    return context


def _there(path: Path, variable: str) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise SecurityError(f"{variable}: {path} cannot be read ({error.strerror}).") from error


def _no_password() -> str:
    """Without this OpenSSL asks the terminal for the password of an encrypted key."""
    raise ValueError("the key is encrypted")
