"""``python -m local.engine_simulator serve MODEL [vLLM serve arguments]``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from local.engine_simulator.arguments import PROGRAM, USAGE_ERROR, UsageError, parse
from local.engine_simulator.environment import SimulationError, read_simulation

START_ERROR = 1


def main(argv: Sequence[str], environ: dict[str, str]) -> int:
    """Run one simulated engine until it is told to stop.

    Returns:
        0 after SIGTERM or SIGINT, 1 when the engine cannot start, 2 for a bad command line or variable.
    """
    gc.disable()  # until the server is set up: imports make no garbage worth 5 % of the start-up time
    try:
        arguments = parse(argv)
        simulation = read_simulation(environ)
    except (UsageError, SimulationError) as error:
        return _fail(error, USAGE_ERROR)
    # Imported late: a bad command line answers at once, and this is where most of the start-up time goes.
    from local.engine_simulator.facts import FactsError, load_gpu, load_model
    from local.engine_simulator.settings import StartError, resolve

    try:
        gpu = load_gpu(simulation.gpu).shared(simulation.gpu_share, simulation.memory_gib)
        settings = resolve(arguments, simulation, load_model(arguments.model), gpu, environ)
        _quiet_import()
        from local.engine_simulator.process import run

        run(settings)
    except (FactsError, StartError) as error:
        return _fail(error, START_ERROR)
    return 0


def run_sglang(argv: Sequence[str], environ: dict[str, str]) -> int:
    """The same with SGLang's arguments, routes and metrics."""
    gc.disable()
    from local.engine_simulator.facts import FactsError, load_gpu, load_model
    from local.engine_simulator.settings import StartError, resolve
    from local.engine_simulator.sglang_arguments import parse_known, translated

    try:
        simulation, known = read_simulation(environ), parse_known(argv)
        model, gpu = load_model(known.model_path), load_gpu(simulation.gpu)
        settings = resolve(parse(translated(known, model, gpu)), simulation, model, gpu, environ)
        _quiet_import()
        from local.engine_simulator.process import run
        from local.engine_simulator.sglang_server import SglangServer

        run(settings, SglangServer)
    except (UsageError, SimulationError) as error:
        return _fail(error, USAGE_ERROR)
    except (FactsError, StartError) as error:
        return _fail(error, START_ERROR)
    return 0


def _quiet_import() -> None:
    import logging

    logging.basicConfig(
        level=logging.INFO,
        format="%(levelname)s %(asctime)s %(message)s",
        datefmt="%m-%d %H:%M:%S",
        stream=sys.stdout,
    )
    # aiohttp's client, which comes with its server, reads all CA certificates when it is imported: a quarter
    # of the start-up time for connections that this process never makes.
    os.environ.setdefault("SSL_CERT_FILE", os.devnull)
    os.environ.setdefault("SSL_CERT_DIR", os.devnull)


def _fail(error: Exception, status: int) -> int:
    print(f"{PROGRAM}: error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
