"""The serial line when nobody reads it."""

import fcntl
import os
import select
import subprocess
import time

from bulkhead import config, vm

SMALLEST_PIPE = 4096


def read_for(fd, seconds):
    end, got = time.time() + seconds, b""
    while time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            got += os.read(fd, 65536)
    return got.decode("latin1")


def test_vms_run_on(boot):
    """The oldest output is lost; the VMs run on, and the monitor answers when the line is read again."""
    counter = {"kernel": "counter.img", "cmdline": "checksum period=1"}
    m = boot(config(vm("a", **counter), vm("b", **counter), core="console = com1\nwhen-done = halt\n"), memory=256)
    m.close()
    process = subprocess.Popen(m.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    fd = process.stdout.fileno()
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    try:
        time.sleep(8)
        text = read_for(fd, 3)
        for name in ("a", "b"):
            rounds = [int(line.split()[-1]) for line in text.split("\r\n")[:-1]
                      if line.startswith("%s| checksum ok " % name)]
            assert len(rounds) > 10
            assert max(b - a for a, b in zip(rounds, rounds[1:])) > 300, "nothing is missing"
        process.stdin.write(b"\x010list\r")
        process.stdin.flush()
        text = read_for(fd, 5)
        assert "1 a               running" in text and "2 b               running" in text
        assert "panic" not in text
    finally:
        process.kill()
        process.wait()
