from __future__ import annotations

import threading

import pytest

from geo_assets.core.workers import Threads


def test_results_come_in_the_order_of_the_tasks():
    second_is_done = threading.Event()

    def work(task):
        if task == 0:
            assert second_is_done.wait(10)
        else:
            second_is_done.set()
        return task * 10

    assert list(Threads(2).map(work, range(5))) == [0, 10, 20, 30, 40]


def test_only_a_few_tasks_are_taken_ahead_of_the_results():
    taken = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield number

    results = Threads(2).map(lambda task: task, tasks())
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


def test_the_exception_of_a_task_is_raised_at_its_turn():
    def work(task):
        if task == 2:
            raise ValueError("the third")
        return task

    results = Threads(2).map(work, range(1000))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_without_a_count_there_is_a_thread_for_each_processor(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5})
    assert Threads().count == 3
