"""The repository's program in the test's own process, for the engine to run.

The engine asks a language host to run a program: usually one that it starts, which starts Python, which imports the
SDKs, two to three seconds of processor time for every command. Here the host is the one of the SDK's Automation API,
in this process, where everything is imported already; the program, the SDKs, the engine and all that they say to each
other are the same. What only a process of its own shows (what it imports, how it ends) this does not.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc


class InlineProgram:
    """A language host for one program.

    Args:
        program: folder with `__main__.py`; what that imports has to be found from here.
        variables: of the environment that the program sees.

    Attributes:
        options: what the engine has to be started with to ask it.
    """

    def __init__(self, program: Path, variables: Mapping[str, str]) -> None:
        def run() -> None:
            runpy.run_path(str(program / "__main__.py"), run_name="__main__")

        self._variables = variables
        self._before = {name: os.environ.get(name) for name in variables}
        # The engine runs one program at a time.
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(run), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.options = (f"--client=127.0.0.1:{port}", "--exec-kind", "auto.inline")

    def start(self) -> None:
        """Set the variables, which a program may read after its file has ended, and listen."""
        os.environ.update(self._variables)
        self._server.start()

    def stop(self) -> None:
        """Stop listening, and give the environment back as it was."""
        self._server.stop(grace=0)
        for name, value in self._before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
