"""A certificate for a TLS server of a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_BACKDATED = timedelta(minutes=5)
_LIFETIME = timedelta(days=1)


def certificate(host: str) -> str:
    """Return the PEM of a certificate of a host, signed by itself."""
    return _signed(host)[1].decode()


def write_certificate(file: Path, host: str) -> None:
    """Write a key and a certificate of a host, signed by itself, into one PEM file."""
    key, pem = _signed(host)
    file.write_bytes(key + pem)


def _signed(host: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form), signed.public_bytes(serialization.Encoding.PEM)
