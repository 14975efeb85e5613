"""Programs that look into images, and QEMU's monitor."""

import contextlib
import json
import os
import socket
import subprocess

ENVIRONMENT = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def run(*args, **options):
    """A program's output; it must end well."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, env=ENVIRONMENT, check=False, **options)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


@contextlib.contextmanager
def qmp_of(path):
    """A function that gives QEMU's monitor, at that socket, a command, and returns the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        with connection.makefile("rw") as qmp:
            def ask(command, **arguments):
                qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                qmp.flush()
                for line in qmp:
                    answer = json.loads(line)
                    if "return" in answer or "error" in answer:
                        return answer["return"]
                raise AssertionError("QEMU's monitor has closed")

            ask("qmp_capabilities")
            yield ask
