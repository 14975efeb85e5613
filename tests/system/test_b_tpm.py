"""Measured boot: what the UEFI loader tells a TPM (swtpm), compared with what the host computes."""

import hashlib
import shutil
import subprocess
import time

import pytest

from bulkhead import CORE_ELF, Failure, config, end_with_parent, find_module, make_uefi_disk, vm

SMALL = config(vm("p", "sleeper.img", memory="16M"))
WORDS, FILES, EV_IPL = 8, 9, 0xD


class Tpm:
    """swtpm, a TPM 2.0 without any state."""

    def __init__(self, folder):
        if not shutil.which("swtpm"):
            raise Failure("swtpm is not installed: tools/deps.sh test")
        state = folder / "tpm"
        state.mkdir()
        self.socket = folder / "tpm.sock"
        self.process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=%s" % state, "--ctrl",
                                         "type=unixio,path=%s" % self.socket, "--terminate"],
                                        preexec_fn=end_with_parent)
        for _ in range(100):
            if self.socket.exists():
                return
            time.sleep(0.1)
        raise Failure("swtpm does not listen")

    def device(self, model):
        return ["-chardev", "socket,id=tpmdev,path=%s" % self.socket, "-tpmdev", "emulator,id=tpm,chardev=tpmdev",
                "-device", model + ",tpmdev=tpm"]

    def close(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def tpm(tmp_path):
    it = Tpm(tmp_path)
    yield it
    it.close()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def extended(sums):
    """A PCR's value after these, from all zeros. (TPM 2.0 Library, part 1, 17.3)"""
    pcr = bytes(32)
    for one in sums:
        pcr = hashlib.sha256(pcr + bytes.fromhex(one)).digest()
    return pcr.hex()


def events(m, count):
    """The event log, as the monitor prints it: PCR, type, sum, text."""
    m.focus(0)
    m.send("measured\r")
    lines = [m.expect(r"^PCR (\d+) +type ([0-9a-f]{8}) ([0-9a-f]{64}|-) (.*)$") for _ in range(count)]
    m.send("help\r")
    m.expect("^Bulkhead ", forbid="^PCR ")
    return [(int(line.group(1)), int(line.group(2), 16), line.group(3), line.group(4)) for line in lines]


@pytest.mark.parametrize("model, words", [("tpm-crb", "log=debug"), ("tpm-tis", "")])
def test_measured(boot, tmp_path, tpm, model, words):
    cmdline = "menu=0 %s\r\n" % words
    m = boot(SMALL, uefi=make_uefi_disk(tmp_path, SMALL, cmdline=cmdline), memory=512, extra=tpm.device(model))
    files = {"bulkhead.conf": SMALL.encode(), "sleeper.img": read(find_module("sleeper.img")),
             "bulkhead.elf": read(CORE_ELF), "bulkhead.cmdline": cmdline.encode()}
    read_back = {pcr: m.expect("tpm: PCR %d sha256 ([0-9a-f]{64})$" % pcr, timeout=120, source="core").group(1)
                 for pcr in (WORDS, FILES)}
    line = m.expect(r"tpm: event log of (\d+) bytes, (\d+) events$", source="core")
    m.expect("p: started", source="core")
    found = events(m, int(line.group(2)))
    of_words = [(kind, value, text) for pcr, kind, value, text in found if pcr == WORDS]
    assert of_words == [(EV_IPL, sha256(words.encode()), words or "(1 bytes)")]
    assert read_back[WORDS] == extended([sha256(words.encode())])
    # The order of the files is the loader's; each has one event, with the host's sum.
    order = [text for pcr, _, _, text in found if pcr == FILES]
    assert sorted(order) == sorted(files)
    sums = [sha256(files[name]) for name in order]
    assert [(kind, value) for pcr, kind, value, _ in found if pcr == FILES] == [(EV_IPL, one) for one in sums]
    assert read_back[FILES] == extended(sums)
    assert [(p, text) for p, _, _, text in found[-2:]] == [
        (5, "Exit Boot Services Invocation"), (5, "Exit Boot Services Returned with Success")]
    assert {p for p, _, _, _ in found} >= set(range(8)), "firmware's own"


def test_no_tpm(boot, tmp_path):
    m = boot(SMALL, uefi=make_uefi_disk(tmp_path, SMALL), memory=512)
    m.expect("p: started", timeout=60, source="core", forbid="tpm|TPM")
    m.focus(0)
    m.send("measured\r")
    m.expect("none: no TPM, or not booted by the UEFI loader")
