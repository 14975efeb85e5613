"""tools/crash_code.py, which reads what a crash leaves on the screen. No machine is started (but in
test_b_screen.py, where a real code is read)."""

import os
import subprocess
import sys

import pytest

from bulkhead import CORE_ELF, ROOT

sys.path.insert(0, os.path.join(ROOT, "tools"))

import crash_code  # noqa: E402

CODE = "8P6Y-50T7-41PB-1GD0-0000-25X9"


def vectors():
    """(code, fields) of the file that the core's own encoder is tested with (test_crash_code.c)."""
    names = ("commit", "modified", "checks", "vector", "error", "at", "by", "by2")
    with open(os.path.join(ROOT, "tests", "data", "crash_codes"), encoding="ascii") as lines:
        for line in lines:
            if not line.startswith("#"):
                code, *values = line.split()
                values = [int(v, 10 if name in ("modified", "checks", "vector", "error") else 16)
                          for name, v in zip(names, values)]
                yield code, dict(zip(names, values), format=0)


@pytest.mark.parametrize("code, fields", vectors())
def test_vectors(code, fields):
    assert crash_code.decode(code) == fields
    # As people type it.
    assert crash_code.decode(code.lower().replace("-", " ").replace("0", "o").replace("1", "l")) == fields


def test_every_wrong_character_is_found():
    plain = CODE.replace("-", "")
    for i, right in enumerate(plain):
        for c in crash_code.ALPHABET.replace(right, ""):
            with pytest.raises(crash_code.Wrong, match="checksum"):
                crash_code.decode(plain[:i] + c + plain[i + 1:])


def test_every_exchange_of_neighbours_is_found():
    plain = CODE.replace("-", "")
    for i in range(len(plain) - 1):
        if plain[i] != plain[i + 1]:
            with pytest.raises(crash_code.Wrong, match="checksum"):
                crash_code.decode(plain[:i] + plain[i + 1] + plain[i] + plain[i + 2:])


@pytest.mark.parametrize("code, said", [(CODE[:-1], "23 characters"), (CODE + "0", "25 characters"), ("", "0 characters"),
                                        (CODE.replace("8", "U"), "'U' is in no code"), ("0" * 24, "checksum")])
def test_no_code(code, said):
    with pytest.raises(crash_code.Wrong, match=said):
        crash_code.decode(code)


def run(*args):
    done = subprocess.run([os.path.join(ROOT, "tools", "crash_code.py"), *args], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def test_exit_status(tmp_path):
    assert run()[0] == run("--help")[0] == run("a", "b", "c")[0] == 2
    status, out, err = run(CODE.replace("8P", "P8"))
    assert status == 1 and not out and "checksum" in err
    broken = tmp_path / "broken.elf"
    for data in (b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 200):
        broken.write_bytes(data)
        status, out, err = run(CODE, str(broken))
        assert status == 2 and not out and "Traceback" not in err
    assert run(CODE, str(tmp_path / "missing"))[0] == 2


def test_names_of_another_build():
    status, out, err = run(CODE, CORE_ELF)
    assert status == 0 and "commit 2c6f141a, with changes that were not committed" in out
    assert "is another build" in err
