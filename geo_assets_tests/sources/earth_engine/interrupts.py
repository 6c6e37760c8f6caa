"""An interrupt (Ctrl-C) at every line of a piece of code, one after the other."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path


def interrupted_at_each_line(run, module, within, *, fresh):
    """Call ``run(fresh())`` again and again, each time interrupted one line later.

    Counted are the lines of the functions named by ``within`` of a module, but for those of
    ``finally``: nothing can be promised of one while giving back. Yields what ``fresh``
    made after each interrupt, and ends when a run came to its end.
    """
    line = 0
    while True:
        line += 1
        subject = fresh()
        if not _interrupted(run, subject, module, within, line):
            return
        yield subject


def _interrupted(run, subject, module, within, at):
    seen = 0

    def trace(frame, event, _argument):
        nonlocal seen
        code = frame.f_code
        if code.co_filename != module.__file__ or code.co_name not in within:
            return None
        if event == "line" and frame.f_lineno not in _spared(module.__file__):
            seen += 1
            if seen == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(subject)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@cache
def _spared(file):
    nodes = list(ast.walk(ast.parse(Path(file).read_text())))
    # Line events come at ``try`` and when ``with`` is left, where Python lets no interrupt in.
    spared = {node.lineno for node in nodes if isinstance(node, ast.With | ast.Try)}
    for node in nodes:
        if isinstance(node, ast.Try):
            for last in node.finalbody:
                spared.update(range(last.lineno, last.end_lineno + 1))
    return spared
