"""Checks of the gateway: its port on the host, its encryption and its limits."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.config.models import EnvironmentConfig, Gateway
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud
from stacks.errors import MISSING, FieldError


def check_gateway(config: EnvironmentConfig) -> Iterator[FieldError]:
    """All errors between the gateway's fields, and with the rest.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    if not has(config, "gateway"):
        return
    gateway = config.gateway
    if has(config, "cloud") and has(gateway, "host_port"):
        yield from _check_host_port(config)
    if has(gateway, "host", "tls"):
        yield from _check_tls(config, gateway)
    keys_known = has(config, "tenancy") and has(config.tenancy, "api_key_hashes")
    if has(gateway, "limits") and gateway.limits is not None and keys_known and not config.tenancy.api_key_hashes:
        message = "are per API key, and the gateway asks for none"
        fix = "Give tenancy.api_key_hashes, or remove the limits."
        yield FieldError("gateway.limits", MISSING, message, fix=fix)


def _check_host_port(config: EnvironmentConfig) -> Iterator[FieldError]:
    if config.cloud is not Cloud.LOCAL and config.gateway.host_port != Gateway().host_port:
        message = f"the gateway has a port on the host on the local cloud only, and cloud is {config.cloud}"
        yield FieldError("gateway.host_port", config.gateway.host_port, message, fix="Remove it.")


def _check_tls(config: EnvironmentConfig, gateway: Gateway) -> Iterator[FieldError]:
    tls = gateway.tls
    if tls is None:
        if gateway.host is not None:
            message = "is the name in a certificate, and there is none"
            yield FieldError("gateway.host", gateway.host, message, fix="Give gateway.tls, or remove it.")
        return
    if not has(tls, "secret", "issuer", "gateway_class"):
        return
    if tls.secret is not None and tls.issuer is not None:
        yield FieldError("gateway.tls", MISSING, "has two sources of a certificate", ("secret", "issuer"), "Keep one.")
    if tls.secret is None and tls.issuer is None:
        fix = "Name a Secret, or an issuer of cert-manager."
        yield FieldError("gateway.tls", MISSING, "has no source of a certificate", ("secret", "issuer"), fix)
    needs = [word for word in ("issuer", "gateway_class") if getattr(tls, word) is not None]
    if needs and gateway.host is None:
        message = f"required, but not given, with gateway.tls.{needs[0]}"
        yield FieldError("gateway.host", MISSING, message, fix="Add it: the name that clients know.")
    secrets = config.secrets if has(config, "secrets") else ()
    made = {item.name: item.keys for item in secrets if has(item, "name", "keys")}
    if tls.secret in made and not {"tls.crt", "tls.key"} <= set(made[tls.secret]):
        message = "the Secret of `secrets` has not the keys tls.crt and tls.key"
        yield FieldError("gateway.tls.secret", tls.secret, message, fix="Add them to its keys.")
