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

from local.provider_double import sdk_types, synthesis
from local.provider_double.diff import AUTONAMED
from local.provider_double.facts import facts, values_at
from local.provider_double.wire import Properties, contains_unknown
from local.provider_double.world import ProviderError, Thing, World


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


class _Values(dict[str, Any]):
    """Values of an id's form; what is not there shows as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


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

    def with_defaults(self, token: str, name: str, news: Properties, olds: Properties, seed: bytes) -> Properties:
        """Inputs with what the provider fills in: a name if the program gives none."""
        key = facts(token).name
        if key is None or news.get(key) is not None:
            return news
        kept = olds.get(key) if key in (olds.get(AUTONAMED) or ()) else None
        invented = kept or self.invented_name(token, name, synthesis.hex_digits(seed.hex(), name, length=32))
        return {**news, key: invented, AUTONAMED: [key]}

    def invented_name(self, token: str, name: str, digits: str) -> str:
        """Name that the provider makes up: the logical name and seven random digits."""
        return f"{name[:55]}-{digits[:7]}"

    # Outputs

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        """Id of a new resource."""
        known = facts(token)
        if known.id is not None:
            values = {**self.account_values(), "hex": synthesis.hex_digits(seed), "uuid": synthesis.uuid(seed)}
            return known.id.format_map(_Values({**values, **self.id_values(token, inputs)}))
        if known.name and inputs.get(known.name):
            return str(inputs[known.name])
        return f"{name}-{synthesis.hex_digits(seed, length=10)}"

    def account_values(self) -> dict[str, Any]:
        """Values for ids that come from the account and the provider's configuration."""
        return {}

    def id_values(self, token: str, inputs: Properties) -> dict[str, Any]:
        """Values for ids that come from the inputs."""
        return {key: value for key, value in inputs.items() if value is not None}

    def outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        """All outputs of a resource: its inputs, what the cloud computes, what this cloud is known for."""
        if contains_unknown(inputs):
            raise ProviderError(f"{token} {identifier}: an input is not known although this is no preview")
        given = self.echoed(token, {key: value for key, value in inputs.items() if not key.startswith("__")})
        made_up = synthesis.computed(self.declared(token), self.arguments(token), given, identifier)
        return {**given, **made_up, **self.known_outputs(token, identifier, inputs)}

    def echoed(self, token: str, inputs: Properties) -> Properties:
        """Inputs as the outputs that they become."""
        return inputs

    def known_outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        """Outputs that this cloud is known to give."""
        return {}

    def declared(self, token: str) -> Mapping[str, Any]:
        """Outputs of a type, without those that the engine keeps itself."""
        return {key: hint for key, hint in sdk_types.output_types(token).items() if key not in {"id", "urn"}}

    def arguments(self, token: str) -> Mapping[str, Any]:
        """Inputs of a type."""
        return sdk_types.shape(sdk_types.arguments_class(token)).types

    # References

    def check_requirements(self, token: str, inputs: Properties) -> None:
        """Refuse what hangs below a resource that does not exist.

        Raises:
            ProviderError: something it requires is not there.
        """
        for path, kind in facts(token).requires.items():
            for value in values_at(inputs, path):
                if not any(self.answers_to(thing, value) for thing in self.world.find(kind)):
                    raise ProviderError(f"{path}: there is no {kind} {value}")

    def check_holders(self, thing: Thing) -> None:
        """Refuse to delete what another resource holds.

        Raises:
            ProviderError: another resource uses it.
        """
        for other in self.world.things():
            for path, kind in facts(other.type).holds.items():
                held = kind == thing.type and any(
                    self.answers_to(thing, value) for value in values_at(other.inputs, path)
                )
                if held and other is not thing:
                    raise ProviderError(f"{thing.type} {thing.id} is in use by {other.type} {other.id} ({path})")

    @staticmethod
    def answers_to(thing: Thing, reference: Any) -> bool:
        """Whether a reference means this resource: by id, name, ARN or self link."""
        names = {thing.id, *(thing.outputs.get(key) for key in ("name", "arn", "selfLink"))}
        return reference in names

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
