"""A certificate authority for one shell: it can speak for the hosts in `hosts.py` and for no other.

The model: keys are made anew for each shell and live in its own folder, for its owner's eyes only. The
authority's certificate is constrained by name, so that even who stole its key could speak for no other host;
it is good for a day. The bundle is what the machine trusts already, and this.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LIFE: Final = timedelta(days=1)
_EARLIER: Final = timedelta(minutes=5)  # clocks differ


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Files: `bundle` for clients to trust, `chain` and `key` for who answers."""

    bundle: Path
    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS for who answers as one of the hosts."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.chain, self.key)
        made.set_alpn_protocols(["http/1.1"])
        return made


def make_authority(folder: Path, hosts: Sequence[str], *, trusted: str) -> Authority:
    """Keys and certificates in `folder`, its owner's alone. `trusted` are PEM certificates to add to."""
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _root(root_key, hosts)
    leaf = _leaf(leaf_key, root, root_key, hosts)
    made = Authority(bundle=folder / "bundle.pem", chain=folder / "chain.pem", key=folder / "key.pem")
    _write(made.bundle, f"{trusted.rstrip()}\n{_pem(root)}")
    _write(made.chain, _pem(leaf) + _pem(root))
    _write(
        made.key, _private(leaf_key)
    )  # the authority's own key is not kept: it has signed all that it will
    return made


def _root(key: EllipticCurvePrivateKey, hosts: Sequence[str]) -> x509.Certificate:
    from cryptography import x509

    name = _name("Lanza, for one shell")
    constrained = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(host) for host in hosts], excluded_subtrees=None
    )
    builder = _builder(name, name, key).add_extension(constrained, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return _signed(builder.add_extension(_usage(signs=True), critical=True), key, key)


def _leaf(
    key: EllipticCurvePrivateKey,
    root: x509.Certificate,
    root_key: EllipticCurvePrivateKey,
    hosts: Sequence[str],
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    builder = _builder(_name(hosts[0]), root.subject, key).add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    serves = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(serves, critical=False)
    return _signed(builder.add_extension(_usage(signs=False), critical=True), key, root_key)


def _builder(subject: Any, issuer: Any, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    from cryptography import x509

    moment = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _EARLIER)
        .not_valid_after(moment + LIFE)
    )


def _signed(
    builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(own, critical=False).add_extension(by, critical=False).sign(signer, SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _private(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
