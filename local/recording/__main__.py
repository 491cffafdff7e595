"""`python -m local.recording`: record a run on the embedded cluster, draw the dashboards from a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from local import cluster
from local.layout import REPOSITORY
from local.pulumi_cli import PulumiError
from local.recording.environment import RecordingError, deployed
from local.recording.pictures import draw_all
from local.recording.prometheus import PrometheusError
from local.recording.record import Answers, record
from local.recording.series import read_compressed, write_compressed

RECORDED = REPOSITORY / "tests" / "recordings"
SERIES, ANSWERS = "series.json.gz", "dashboards.json.gz"

app = typer.Typer(
    help="Record what an environment on the embedded cluster says of itself; draw its dashboards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command("record")
def record_command(
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = RECORDED,
    scale: Annotated[float, typer.Option(help="Factor on the load's length.", min=0.1, max=10)] = 1.0,
) -> None:
    """Deploy the recorded environment on a cluster of its own, load it, let it fall to zero; ten minutes."""
    try:
        with deployed() as running:
            series, answers = record(running, console.print, scale)
    except (cluster.ClusterError, PulumiError, PrometheusError, RecordingError) as error:
        console.print(f"record: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    series.save(folder / SERIES)
    write_compressed(folder / ANSWERS, answers.document())
    for name in (SERIES, ANSWERS):
        console.print(f"{folder / name}: {(folder / name).stat().st_size / 1000:.0f} kB")


@app.command()
def draw(
    folder: Annotated[Path, typer.Option(help="Folder of the recorded files.")] = RECORDED,
    pictures: Annotated[Path, typer.Option(help="Where the pictures go.")] = REPOSITORY / "docs" / "pictures",
) -> None:
    """Draw every dashboard as SVG from the recorded answers to its queries."""
    try:
        answers = Answers.of(read_compressed(folder / ANSWERS))
    except (OSError, EOFError, ValueError, LookupError) as error:
        console.print(f"draw: {folder / ANSWERS} cannot be read ({error}): record it first", style="red", markup=False)
        raise typer.Exit(1) from None
    pictures.mkdir(parents=True, exist_ok=True)
    for name, text in draw_all(answers).items():
        (pictures / name).write_text(text, encoding="utf-8")
        console.print(f"{pictures / name}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    app(prog_name="python -m local.recording")
