"""Benchmarks: ours, the old way and the best peer on the same data in one run (``make bench``).

A benchmark is a module with a list ``BENCHMARKS`` and its name in ``registry.MODULES``. Goals are
written beside what is measured and asserted nowhere: a test that fails on a busy machine teaches
nobody anything.
"""
