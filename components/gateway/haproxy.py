"""The gateway's configuration as a pure function: which model a request is for, and what happens to it.

OpenAI clients name the model in the JSON body, the interceptor routes by header: the gateway reads the one and sets
the other. It answers itself what needs no engine: the list of models, unknown models, requests that name none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from components.gateway import limits
from components.gateway.limits import ClientLimits
from components.labels import MODEL_HEADER
from components.timing import GENERATION_SECONDS

BUFFER_BYTES: Final = 512 * 1024
"""How much of a request HAProxy keeps to read the model from, headers included: a prompt of about 100,000 tokens."""

LARGEST_READABLE_BODY_BYTES: Final = BUFFER_BYTES - 16 * 1024
"""What is left of the buffer for a body; HAProxy keeps some for headers and rewrites."""

MOST_CONNECTIONS: Final = 4096

CONNECT_RETRIES: Final = 10
"""HAProxy waits a second between attempts to connect: the interceptor may restart without a request being lost."""

OWNER: Final = "inference-platform"


@dataclass(frozen=True, kw_only=True)
class HaproxyConfig:
    """What the configuration depends on.

    Attributes:
        models: names of the model deployments; DNS labels.
        adapters: names that a model deployment serves beside its own, each with that deployment; DNS labels.
        host: Host header for the interceptor, the same in the environment's InterceptorRoutes.
        interceptor_host: DNS name of the interceptor.
        interceptor_port: its port.
        patience_seconds: longest silence between the two ends: until the first byte of the slowest answer.
        drain_seconds: what requests get when the gateway itself is replaced.
        key_hashes: SHA-256, in lower-case hexadecimal, of the API keys that are accepted; empty: none is asked for.
        limits: of each key; only with keys.
        certificate: path of the certificate's chain, its key beside it with `.key` added, as HAProxy's files have it (a
            variable in quotes is its value); "": no TLS.
        port: for clients.
        metrics_port: for Prometheus; answers /healthz, too.

    Raises:
        ValueError: limits without keys: nobody could be told from another.
    """

    models: tuple[str, ...]
    host: str
    interceptor_host: str
    interceptor_port: int
    patience_seconds: int
    drain_seconds: int
    key_hashes: tuple[str, ...] = ()
    limits: ClientLimits = field(default_factory=ClientLimits)
    certificate: str = ""
    adapters: Mapping[str, str] = field(default_factory=dict)
    port: int = 8080
    metrics_port: int = 8404

    def __post_init__(self) -> None:
        if self.limits.any and not self.key_hashes:
            raise ValueError("limits are per API key, and there is none")

    @property
    def hard_stop_seconds(self) -> int:
        """How long a worker that is to end finishes what it has.

        With a certificate a worker ends at each renewal, too, which must not cut an answer off; then it is
        `components.gateway.renewal` that ends the drain of the pod.
        """
        return self.patience_seconds + GENERATION_SECONDS if self.certificate else max(1, self.drain_seconds)

    @property
    def served(self) -> tuple[str, ...]:
        """All names that clients may ask for."""
        return (*self.models, *self.adapters)


def render(config: HaproxyConfig) -> str:
    """The text of haproxy.cfg, for HAProxy 2.8. It reads its address from the variable POD_IP."""
    parts = [
        _global(config),
        _defaults(config),
        _RESOLVERS,
        _frontend(config),
        _backend(config),
        limits.table(config.limits),
        _metrics(config),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _quoted(body: dict[str, Any]) -> str:
    """JSON as one argument; HAProxy takes everything between single quotes literally."""
    text = json.dumps(body, separators=(",", ":"))
    if "'" in text or "\n" in text:
        raise ValueError(f"cannot be written between single quotes: {text}")
    return f"'{text}'"


def _error(message: str, code: str | None, *, kind: str = "invalid_request_error", param: str | None = None) -> str:
    """An error as the OpenAI API words it."""
    return _quoted({"error": {"message": message, "type": kind, "param": param, "code": code}})


def _model(name: str, config: HaproxyConfig) -> dict[str, Any]:
    # `created` is required by OpenAI's clients and known to nobody; `parent` is vLLM's word for an adapter's model.
    parent = {"parent": config.adapters[name]} if name in config.adapters else {}
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER, **parent}


def _global(config: HaproxyConfig) -> str:
    return f"""global
    log stdout format raw local0
    maxconn {MOST_CONNECTIONS}
    # Where the limit of open files is lower, serve fewer connections instead of none.
    no strict-limits
    tune.bufsize {BUFFER_BYTES}
    hard-stop-after {config.hard_stop_seconds}s
    ssl-default-bind-options ssl-min-ver TLSv1.2"""


def _defaults(config: HaproxyConfig) -> str:
    failures = {
        400: ("The request is not valid HTTP.", "bad_request"),
        408: ("The request took too long to arrive.", "request_timeout"),
        500: ("The gateway failed.", "internal_error"),
        502: ("The answer broke off before it began.", "bad_gateway"),
        503: ("The platform cannot be reached just now.", "service_unavailable"),
        504: ("The model did not answer in time.", "gateway_timeout"),
    }
    errors = "\n".join(
        f"    http-error status {status} content-type application/json string "
        + _error(message, code, kind="invalid_request_error" if status < 500 else "server_error")  # noqa: PLR2004
        for status, (message, code) in failures.items()
    )
    return f"""defaults
    mode http
    log global
    option httplog
    # What went well is in the metrics.
    option dontlog-normal
    option http-keep-alive
    timeout connect 5s
    timeout http-request 30s
    timeout http-keep-alive 60s
    # A request may wait for its model to start, and then for the end of a long answer.
    timeout client {config.patience_seconds}s
    timeout server {config.patience_seconds}s
    retries {CONNECT_RETRIES}
{errors}"""


_RESOLVERS: Final = """resolvers cluster
    parse-resolv-conf
    accepted_payload_size 8192
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 10s
    # A Service keeps its address: go on with the last one while DNS is away.
    hold timeout 1h
    hold refused 1h
    hold other 1h
    hold obsolete 1h
    hold nx 30s"""


def _frontend(config: HaproxyConfig) -> str:
    listing = _quoted({"object": "list", "data": [_model(name, config) for name in config.served]})
    known = "\n".join(f"    acl known_model var(txn.model) -m str {name}" for name in config.served)
    single = "\n".join(
        f"    http-request return status 200 content-type application/json string {_quoted(_model(name, config))} "
        f"if METH_GET {{ path /v1/models/{name} }}"
        for name in config.served
    )
    json_error = "content-type application/json string"
    formatted_error = "content-type application/json lf-string"
    hint = (
        f"or, if the body is not JSON or larger than {LARGEST_READABLE_BODY_BYTES} bytes, set the header {MODEL_HEADER}"
    )
    too_large = _error(
        f"The gateway reads the model from at most {LARGEST_READABLE_BODY_BYTES} bytes of body. "
        f"Set the header {MODEL_HEADER} to the model to send more.",
        "body_too_large",
        param="model",
    )
    no_model = _error(
        f"Name the model: put it in the field model of a JSON body, {hint}.", "model_missing", param="model"
    )
    limited = limits.rules(config.limits, _error, LARGEST_READABLE_BODY_BYTES)
    no_path = _error("There is nothing here; the API is below /v1/.", "not_found")
    return f"""frontend models
    bind "${{POD_IP}}:{config.port}"{_tls(config)}
    monitor-uri /healthz

    acl model_in_header req.hdr({MODEL_HEADER}) -m found
    acl model_found var(txn.model) -m found
    acl body_too_large req.body_size gt {LARGEST_READABLE_BODY_BYTES}
{known}

    http-request return status 404 {json_error} {no_path} unless {{ path_beg /v1/ }}
    # Whoever comes next resolves a way upwards: /v1/../metrics would be the engine's /metrics.
    http-request return status 404 {json_error} {no_path} if {{ path,url_dec -m sub /.. }}
{_keys(config)}    http-request return status 200 {json_error} {listing} if METH_GET {{ path /v1/models }}
{single}

    http-request set-var(txn.model) req.fhdr({MODEL_HEADER}) if model_in_header
    http-request return status 413 {json_error} {too_large} if !model_in_header body_too_large
    http-request wait-for-body time 30s if !model_in_header METH_POST
    http-request set-var(txn.model) req.body,json_query('$.model') if !model_in_header METH_POST
    http-request return status 400 {json_error} {no_model} if !model_found
    http-request return status 404 {formatted_error} {_unknown_model(config)} if {_not_known(config)}

{limited}{_routes(config)}    http-request set-header {MODEL_HEADER} %[var(txn.model)]
    http-request set-header host {config.host}
    default_backend interceptor"""


def _tls(config: HaproxyConfig) -> str:
    return f" ssl crt {config.certificate} alpn h2,http/1.1" if config.certificate else ""


def _keys(config: HaproxyConfig) -> str:
    if not config.key_hashes:
        return ""
    error = _error("Send a valid API key: Authorization: Bearer KEY.", "invalid_api_key")
    known = "\n".join(f"    acl known_key var(txn.key) -m str {digest}" for digest in config.key_hashes)
    # Hashes are compared: how long that takes says nothing about a key. No key travels on.
    return f"""    http-request set-var(txn.key) http_auth_bearer,sha2(256),hex,lower
{known}
    http-request return status 401 content-type application/json string {error} unless known_key
    http-request del-header authorization
"""


def _routes(config: HaproxyConfig) -> str:
    """The body goes on as it came, for the engine to find the adapter in; the route is its model's."""
    return "".join(
        f"    http-request set-var(txn.model) str({model}) if {{ var(txn.model) -m str {adapter} }}\n"
        for adapter, model in config.adapters.items()
    )


def _not_known(config: HaproxyConfig) -> str:
    # An acl without a pattern is an error: without models nothing is known.
    return "!known_model" if config.served else "TRUE"


def _unknown_model(config: HaproxyConfig) -> str:
    """A log format: the model's name as the client wrote it, cut short and escaped, goes into the text."""
    served = ", ".join(config.served) or "none"
    placeholder = "MODEL"
    text = _error(f"The model `{placeholder}` does not exist. Models: {served}.", "model_not_found", param="model")
    return text.replace("%", "%%").replace(placeholder, "%[var(txn.model),bytes(0,200),json(utf8s)]", 1)


def _backend(config: HaproxyConfig) -> str:
    server = f"{config.interceptor_host}:{config.interceptor_port}"
    return f"""backend interceptor
    # Only what has had no answer is sent again: no connection, or one that closed without a byte; 502 is how the
    # interceptor reports the same of the router. Inference may be repeated: it changes nothing.
    retry-on conn-failure empty-response 502
    # The name need not resolve yet: the gateway may start before the interceptor.
    server interceptor {server} resolvers cluster resolve-prefer ipv4 init-addr libc,none"""


def _metrics(config: HaproxyConfig) -> str:
    return f"""frontend metrics
    bind "${{POD_IP}}:{config.metrics_port}"
    monitor-uri /healthz
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request return status 404"""
