"""The command ``bench``: parses, calls the library once, prints. Heavy imports wait until a command needs them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError

BUILT_IN = {
    "run": "bench.commands.run:run",
    "sweep": "bench.commands.sweep:sweep",
    "score": "bench.commands.score:score",
    "compare": "bench.commands.compare:compare",
    "report": "bench.commands.report:report",
    "plot": "bench.commands.plot:plot",
    "meta": "bench.commands.meta:meta",
    "list": "bench.commands.inspect:list_plugins",
    "show": "bench.commands.inspect:show",
    "assets": "bench.commands.assets:assets",
    "doctor": "bench.commands.doctor:doctor",
    "init": "bench.commands.init:init",
    "worker": "bench.commands.worker:worker",
    "new": "bench.commands.new:new",
    "check": "bench.commands.check:check",
}


class Commands(click.Group):
    """The harness's own commands and those that plugins bring (entry-point group ``bench.commands``)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all names, the harness's own first."""
        from bench import registry

        return [*BUILT_IN, *(name for name in registry.table("command") if name not in BUILT_IN)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        from bench import registry

        if name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        if name not in registry.table("command"):
            return None
        try:
            found: click.Command = registry.find("command", name).plugin
        except BenchError as err:
            return _broken(name, err)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the near misses of an unknown command."""
        from bench import registry

        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise click.UsageError(registry.miss("command", args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


def _broken(name: str, err: BenchError) -> click.Command:
    """Return a stand-in for a plugin's command that cannot be imported: the others must still work."""

    def complain() -> None:
        raise err

    return click.Command(name, callback=complain, help=f"(broken: {err})")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cxr-report-bench", prog_name="bench")
def bench() -> None:
    """Benchmark for chest radiograph report generation.

    \b
    bench run --system sae-rad --metrics all   report, score and compare (the embedded demo without a bench.yaml)
    bench init                                 write a bench.yaml for MIMIC-CXR
    bench doctor                               check the installation and the dataset
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 bad input or a part that cannot work, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal or a file in ASCII shows "?", not a traceback
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run_command(lambda: bench.main(args=arguments, prog_name="bench", standalone_mode=False)))


def _terminated(*_: object) -> None:
    """End a terminated command (a batch system's time limit) as Ctrl-C does: what is under way is written first."""
    raise KeyboardInterrupt


def run_command(command: Callable[[], Any]) -> int:
    """Call `command`; turn the errors a user can mend into a message and an exit code."""
    try:
        result = command()
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; the same command continues where it stopped", 130)
    except BenchError as err:
        return _fail(str(err), 2)
    except BrokenPipeError:  # the reader of our output has gone, e.g. `bench list | head`
        sys.stderr.close()
        return 0
    except OSError as err:
        if err.errno is None:
            raise
        where = f"{err.filename}: " if err.filename else ""
        return _fail(f"{where}{err.strerror}", 2)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"bench: {message}", err=True)
    return code


def path_option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """Return a click option that takes a path."""
    return click.option(*names, type=click.Path(path_type=Path), **settings)


def confidence_option(text: str) -> Callable[[Any], Any]:
    """Return a click option that takes the level of intervals, between 0 and 1."""
    level = click.FloatRange(0, 1, min_open=True, max_open=True)
    return click.option("--confidence", type=level, default=0.95, show_default=True, help=text)


if __name__ == "__main__":
    main()
