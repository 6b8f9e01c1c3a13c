"""Work in parts: the order of the answers, and what an error or a new process leaves behind."""

import os
import threading
from time import sleep

import pytest

from hashae.indexer.tasks import in_parts


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("queries", [1, 2, 7, 100])
def test_every_query_is_answered_once_and_in_order(queries, threads):
    found = in_parts(lambda part: list(range(part.start, part.stop)), queries, threads)
    assert [query for part in found for query in part] == list(range(queries))


def test_several_threads_share_a_batch():
    names = set()

    def search(part):
        sleep(0.02)
        names.add(threading.current_thread().name)

    in_parts(search, 100, 3)
    assert threading.current_thread().name in names
    assert len(names) == 3


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_an_error_in_any_thread_is_raised_and_ends_the_others(where):
    here, parts = threading.current_thread(), []

    def search(part):
        parts.append(part)
        sleep(0.02)
        if (threading.current_thread() is here) == (where == "here"):
            raise ValueError(where)

    with pytest.raises(ValueError, match=where):
        in_parts(search, 100, 2)
    assert in_parts(lambda part: part.stop, 100, 2)[-1] == 100  # and the next batch is answered


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_has_threads_of_its_own():
    in_parts(lambda part: sleep(0.01), 8, 2)  # the helper is there
    names = set()

    def search(part):
        sleep(0.02)
        names.add(threading.current_thread().name)

    child = os.fork()
    if child == 0:
        in_parts(search, 100, 2)
        os._exit(0 if len(names) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
