import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bulkhead  # noqa: E402
import machines  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "machines(*names): the machines that a test runs on (machines.py)")
    config.addinivalue_line("markers", "slow: takes minutes; runs first")


def pytest_generate_tests(metafunc):
    """A test that boots runs once on each of its machines; its id names it when it was asked for."""
    mark = metafunc.definition.get_closest_marker("machines")
    if mark and "machine_name" in metafunc.fixturenames:
        metafunc.parametrize("machine_name", mark.args)


def pytest_collection_modifyitems(items):
    """One worker for all tests that share a machine (pytest-xdist, --dist loadgroup), and the slow ones
    first, lest one worker waits for the other at the end."""
    for item in items:
        if "two_linux" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("two_linux"))
    items.sort(key=lambda item: not item.get_closest_marker("slow"))


@pytest.fixture
def machine_name():
    return machines.QEMU_SVM


@pytest.fixture
def boot(tmp_path, machine_name):
    """Starts machines that end with the test: boot(conf, ...) -> Machine."""
    started = []

    def start(conf, **options):
        started.append(machines.start(machine_name, tmp_path, conf, **options))
        return started[-1]

    yield start
    for machine in started:
        machine.close()


class Shared:
    """One machine with two Linux VMs for all cheap checks; started again when a test has lost it."""

    def __init__(self, folder):
        self.folder = folder
        self.machine = None

    def get(self):
        if self.machine is not None and self.machine.ended:
            self.machine.close()
            self.machine = None
        if self.machine is None:
            conf = bulkhead.config(bulkhead.vm("linux1"), bulkhead.vm("linux2"))
            self.machine = bulkhead.Machine(self.folder, conf, memory=2048)
            self.machine.shell("linux1")
            self.machine.shell("linux2")
        return self.machine

    def close(self):
        if self.machine is not None:
            self.machine.close()
            self.machine = None


@pytest.fixture(scope="session")
def shared_machines(tmp_path_factory):
    shared = Shared(tmp_path_factory.mktemp("linux"))
    yield shared
    shared.close()


@pytest.fixture
def two_linux(shared_machines):
    return shared_machines.get()
