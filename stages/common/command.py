"""How a stage becomes a command: `--params`, one-line errors, exit code 1."""

from __future__ import annotations

import errno
import functools
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from stages.common.errors import SeppError
from stages.common.plugins import plugins

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}

params_option = click.option(
    "--params",
    "params_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="params.yaml",
    show_default=True,
    help="The parameters, all of which are checked.",
)
arm_option = click.option("--arm", required=True, help="Source of the extra rows, e.g. sepp.")
evaluation_option = click.option(
    "--evaluation",
    type=click.Choice(plugins("evaluation")),
    required=True,
    help="A file of stages/evaluation.",
)
seed_option = click.option("--seed", type=int, required=True, help="Seed of this training.")


def one_line(error: Exception) -> str | None:
    """The message for a user's mistake; None for anything else, which keeps its traceback."""
    if isinstance(error, SeppError):
        # From a loader's worker process the message comes at the end of its traceback.
        return re.sub(r"^stages\.\S+: ", "", str(error).strip().splitlines()[-1])
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return (
            f"{error.filename or 'output'}: no space left on the device; nothing half-written "
            "was kept: free some space and run again"
        )
    if isinstance(error, OSError) and error.filename:
        path, reason = error.filename2 or error.filename, error.strerror
        if error.errno in IN_THE_WAY:  # a file where a folder should be, or the other way round
            return f"{path}: something else is in its place ({reason}): move it away and run again"
        if error.errno in NOT_ALLOWED:
            return f"{path}: may not be written or read ({reason}): change that and run again"
    return None


def command(function: Callable[..., None]) -> click.Command:
    """A click command whose user errors are one line on stderr and exit code 1."""

    @functools.wraps(function)
    def guarded(*args: object, **kwargs: object) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        logging.getLogger("torch").setLevel(logging.WARNING)  # it sums up its caches at the end
        try:
            function(*args, **kwargs)
        except Exception as error:
            message = one_line(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return click.command(context_settings={"max_content_width": 100})(guarded)
