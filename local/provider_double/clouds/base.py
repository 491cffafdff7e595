"""What all simulated clouds have in common."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.provider_double import diff, sdk_types, synthesis
from local.provider_double.wire import UNKNOWN, Properties, contains_unknown
from local.provider_double.world import ProviderError, World


@cache
def certificate_authority() -> str:
    """A self-signed certificate authority, PEM in base64, as kubeconfigs carry it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.PEM)).decode()


@dataclass(frozen=True)
class Account:
    """Whose cloud it is; made up.

    Attributes:
        aws_account: 12 digits.
        aws_region: default region.
        azure_subscription: UUID.
        azure_tenant: UUID.
        azure_location: default location.
        gcp_project: default project.
        gcp_project_number: its number.
        gcp_region: default region.
        api_server: address of every cluster's API server; None for a made-up one each.
    """

    aws_account: str = "123456789012"
    aws_region: str = "us-east-1"
    azure_subscription: str = "00000000-0000-0000-0000-00000000d0b1"
    azure_tenant: str = "00000000-0000-0000-0000-00000000d0b2"
    azure_location: str = "eastus"
    gcp_project: str = "double-project"
    gcp_project_number: str = "123456789012"
    gcp_region: str = "us-central1"
    api_server: str | None = None
    certificate: str = field(default_factory=certificate_authority)


Answer = Callable[[Mapping[str, Any]], Properties]


class Cloud:
    """Answers of one provider; the subclasses know their cloud."""

    def __init__(self, package: str, account: Account, world: World) -> None:
        self.package = package
        self.account = account
        self.world = world
        self.config: Properties = {}

    def configure(self, config: Properties) -> None:
        """Take over what the provider was configured with."""
        self.config = {**self.config, **config}

    # Inputs

    def name_length(self, token: str) -> int:
        """Longest name of a type, characters."""
        return 63 if token else 0

    def with_defaults(self, token: str, name: str, news: Properties, olds: Properties, seed: bytes) -> Properties:
        """Inputs with what the provider fills in: a name if the program gives none."""
        key = diff.rule(token).name
        if key is None or news.get(key) is not None:
            return news
        invented = olds.get(key)
        if invented in {None, UNKNOWN}:
            suffix = synthesis.hex_digits(seed.hex(), name, length=7)
            invented = f"{name[: self.name_length(token) - 8]}-{suffix}"
        return {**news, key: invented}

    # Outputs

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        """Id of a new resource."""
        key = diff.rule(token).name
        if key and inputs.get(key):
            return str(inputs[key])
        return f"{name}-{synthesis.hex_digits(seed, length=10)}"

    def outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        """All outputs of a resource: its inputs, what the cloud computes, what this cloud is known for."""
        if contains_unknown(inputs):
            raise ProviderError(f"{token} {identifier}: an input is not known although this is no preview")
        made_up = synthesis.computed(self.declared(token), self.arguments(token), inputs, identifier)
        return {**inputs, **made_up, **self.known_outputs(token, identifier, inputs)}

    def known_outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        """Outputs that this cloud is known to give."""
        return {}

    def declared(self, token: str) -> Mapping[str, Any]:
        """Outputs of a type, without those that the engine keeps itself."""
        return {key: hint for key, hint in sdk_types.output_types(token).items() if key not in {"id", "urn"}}

    def arguments(self, token: str) -> Mapping[str, Any]:
        """Inputs of a type."""
        return sdk_types.shape(sdk_types.arguments_class(token)).types

    # Functions

    def functions(self) -> Mapping[str, Answer]:
        """Functions that have an exact answer, by token."""
        return {}

    def invoke(self, token: str, arguments: Properties) -> Properties:
        """Result of a function."""
        declared = sdk_types.shape(sdk_types.function(token).result).types
        echoed = {key: value for key, value in arguments.items() if key in declared}
        seed = f"{token}{sorted(arguments.items())!r}"
        invented = {key: synthesis.invent(hint, key, seed) for key, hint in declared.items()}
        known = self.functions().get(token)
        return {**invented, **echoed, **(known(arguments) if known else {})}
