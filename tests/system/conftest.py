import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bulkhead  # noqa: E402


@pytest.fixture
def boot(tmp_path):
    """Starts machines that end with the test: boot(conf, ...) -> Machine."""
    machines = []

    def start(conf, **options):
        machine = bulkhead.Machine(tmp_path, conf, **options)
        machines.append(machine)
        return machine

    yield start
    for machine in machines:
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
