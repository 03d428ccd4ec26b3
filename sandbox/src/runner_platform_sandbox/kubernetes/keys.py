"""Keys and certificates of one control plane, created once and kept in its folder.

Owns: the cluster's authority, the API server's certificate, client certificates, the key pair that signs service
account tokens, and its public half as a key set. Leaves out kubeconfigs (`command_lines`). The signing key must
survive restarts, or issued tokens and the trust in them would break.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from runner_platform_sandbox.disk import replace

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

_LIFETIME = timedelta(days=3650)
_BACKDATED = timedelta(minutes=5)
_RSA_BITS = 2048

ADMINISTRATORS = "system:masters"
KUBELET_CLIENT = "system:sandbox-kubelet-client"
"""Name of the API server towards kubelets, which let nobody else in."""
KUBELET_CLIENTS = "system:sandbox-kubelet-clients"


class Keys:
    """The key files of one folder.

    Args:
        folder: Folder of the files; only its owner may read it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.server_certificate = folder / "apiserver.crt"
        self.server_key = folder / "apiserver.key"
        self.signing_key = folder / "service-account.key"
        self.signing_public_key = folder / "service-account.pub"
        self.kubelet_client_certificate = folder / f"{_stem(KUBELET_CLIENT)}.crt"
        self.kubelet_client_key = folder / f"{_stem(KUBELET_CLIENT)}.key"

    def ensure(self) -> None:
        """Create missing keys and certificates; keep existing ones."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.signing_public_key.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
            replace(self.signing_key, _private_pem(key))
            replace(self.signing_public_key, _public_pem(key.public_key()))
        if not self.ca.exists():
            authority = ec.generate_private_key(ec.SECP256R1())
            certificate = _certificate(_name("runner-platform sandbox"), authority, authority, authority_name=None)
            replace(self.folder / "ca.key", _private_pem(authority))
            replace(self.ca, _certificate_pem(certificate))
        if not self.server_certificate.exists():
            names = x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("localhost"),
                    x509.DNSName("kubernetes.default.svc"),
                ]
            )
            self._issue(_name("kube-apiserver"), self.server_certificate, self.server_key, names)
        self.client(KUBELET_CLIENT, KUBELET_CLIENTS)

    def client(self, user: str, group: str = ADMINISTRATORS) -> tuple[str, str]:
        """Return certificate and key, PEM, of a user in a group; created on first use."""
        certificate, key = self.folder / f"{_stem(user)}.crt", self.folder / f"{_stem(user)}.key"
        if not certificate.exists():
            self._issue(_name(user, group), certificate, key, None)
        return certificate.read_text(), key.read_text()

    def jwks(self) -> dict[str, Any]:
        """Return the JSON Web Key Set that the API server would serve at `/openid/v1/jwks`.

        The key's id is the API server's: SHA-256 of the public key in DER, base64url without padding.
        """
        key = serialization.load_pem_public_key(self.signing_public_key.read_bytes())
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError(f"{self.signing_public_key} is not an RSA key")
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        numbers = key.public_numbers()
        entry = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": _base64url(hashlib.sha256(der).digest()),
            "n": _base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": _base64url(numbers.e.to_bytes(3, "big")),
        }
        return {"keys": [entry]}

    def _issue(
        self, subject: x509.Name, certificate: Path, key: Path, names: x509.SubjectAlternativeName | None
    ) -> None:
        authority_key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), password=None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.folder / 'ca.key'} is not the key that this sandbox made")
        authority = x509.load_pem_x509_certificate(self.ca.read_bytes())
        private_key = ec.generate_private_key(ec.SECP256R1())
        issued = _certificate(
            subject, private_key, authority_key, authority_name=authority.subject, alternative_names=names
        )
        replace(key, _private_pem(private_key))
        replace(certificate, _certificate_pem(issued))


def _stem(user: str) -> str:
    return user.replace(":", "-")


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: CertificateIssuerPrivateKeyTypes,
    *,
    authority_name: x509.Name | None,
    alternative_names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    is_authority = authority_name is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority_name or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if alternative_names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if alternative_names is not None:
        builder = builder.add_extension(alternative_names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _name(common: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_pem(key: rsa.RSAPublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
