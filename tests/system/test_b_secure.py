"""Secure Boot: signed images in OVMF with keys enrolled, and all that must not start."""

import os
import re
import shutil
import struct
import subprocess
import uuid

import pytest

from bulkhead import BUILD, CORE_ELF, OVMF_VARS, ROOT, config, find_module, make_image, make_uefi_disk, vm
from media import run

OVMF_SECURE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
MACHINE = "q35,smm=on"
SMALL = config(vm("p", "power.img", cmdline="off after=100", memory="16M"))
LOADER = os.path.join(BUILD, "BOOTX64.EFI")
CMDLINE = "log=debug\n"
IS_ON = "Secure Boot is on, and all files are in the loader's signed list"
# What OVMF says of a file that it does not let run. (UEFI 2.10, 32.5.3.3)
DENIED = "BdsDxe: failed to (load|start) .*: (Access Denied|Security Violation)"
LOADED = "^bulkhead: "

# UEFI 2.10, 32.3.3 and 32.4.1; edk2's MdeModulePkg/Include/Guid/VariableFormat.h.
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
SECURITY_DATABASE = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
CERT_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
OWNER = uuid.UUID("b0074b48-0000-4000-8000-000000000001")
STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
STORE_HEADER, VARIABLE_START, VARIABLE_ADDED = 28, 0x55AA, 0x3F
ATTRIBUTES = 0x27  # non-volatile, for boot services and run time, authenticated by time


class Key:
    def __init__(self, folder, name):
        self.key, self.cert = folder / (name + ".key"), folder / (name + ".pem")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=" + name,
           "-keyout", self.key, "-out", self.cert)
        der = folder / (name + ".der")
        run("openssl", "x509", "-in", self.cert, "-outform", "DER", "-out", der)
        self.der = der.read_bytes()

    def options(self):
        return ["--sign-key=%s" % self.key, "--sign-cert=%s" % self.cert]

    def signature_list(self):
        return (CERT_X509.bytes_le + struct.pack("<III", 28 + 16 + len(self.der), 0, 16 + len(self.der))
                + OWNER.bytes_le + self.der)


def variable(name, guid, data):
    """An authenticated variable as it stands in the flash: a time, no counter."""
    name = name.encode("utf-16-le") + b"\0\0"
    time = struct.pack("<HBBBBBBIhBB", 2024, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    whole = (struct.pack("<HBBIQ", VARIABLE_START, VARIABLE_ADDED, 0, ATTRIBUTES, 0) + time
             + struct.pack("<III", 0, len(name), len(data)) + guid.bytes_le + name + data)
    return whole + b"\xff" * (-len(whole) % 4)


def enrolled(out, **keys):
    """OVMF's empty variables with the keys PK, KEK and db in them: Secure Boot is on then."""
    with open(OVMF_VARS, "rb") as empty:
        flash = bytearray(empty.read())
    at = flash.index(STORE) + STORE_HEADER
    assert flash[at:at + 2] == b"\xff\xff", "the variables are not empty"
    for name, key in keys.items():
        data = variable(name, SECURITY_DATABASE if name == "db" else GLOBAL, key.signature_list())
        flash[at:at + len(data)] = data
        at += len(data)
    out.write_bytes(flash)
    return out


def firmware(tmp_path, variables):
    own = shutil.copy(variables, tmp_path / "secure-vars.fd")
    return ["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + OVMF_SECURE,
            "-drive", "if=pflash,format=raw,unit=1,file=%s" % own,
            "-global", "driver=cfi.pflash01,property=secure,value=on"]


class Setup:
    """Keys, variables, and both images with a small guest, a configuration and a command line."""

    def __init__(self, folder):
        self.folder = folder
        self.good, self.bad = Key(folder, "owner"), Key(folder, "stranger")
        self.on = enrolled(folder / "on.fd", PK=self.good, KEK=self.good, db=self.good)
        self.files = {name: folder / name for name in ("bulkhead.conf", "bulkhead.cmdline")}
        self.files["bulkhead.conf"].write_text(SMALL)
        self.files["bulkhead.cmdline"].write_text(CMDLINE)
        self.contents = [*self.files.values(), find_module("power.img"), "EFI/BOOT/BOOTX64.EFI=" + LOADER,
                         "bulkhead.elf=" + CORE_ELF]
        self.signed = {kind: self.image(kind, *self.good.options()) for kind in ("iso", "usb")}

    def image(self, kind, *options, name="good"):
        size = ["--size=42"] if kind == "usb" else []
        return make_image(kind, self.folder / (name + "." + kind), self.contents, "--timeout=0", *size, *options)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    return Setup(tmp_path_factory.mktemp("secure"))


@pytest.fixture
def start(boot, setup, tmp_path):
    """A machine with Secure Boot on that boots from a stick, or a CD."""
    def starter(variables=None, **medium):
        return boot(SMALL, machine=MACHINE, memory=512, extra=firmware(tmp_path, variables or setup.on), **medium)
    return starter


@pytest.fixture
def stick(setup, tmp_path):
    """A copy of the signed stick, to change: the file's path, and how mtools call its file system."""
    path = shutil.copy(setup.signed["usb"], tmp_path / "stick.img")
    return path, "%s@@1M" % path


def ready_and_off(m):
    m.expect("^READY", timeout=60, source="p")
    assert m.wait_exit() == 0


@pytest.mark.parametrize("medium", ["usb", "iso"])
def test_signed_image_boots(start, setup, medium):
    image = setup.signed[medium]
    m = start(**({"disk": image} if medium == "usb" else {"iso": image}))
    m.expect("^bulkhead: Secure Boot is on; this loader's list has 4 files", timeout=120)
    m.expect(IS_ON, timeout=30, source="core")
    m.expect("debug module: power.img", source="core")  # so the command line has arrived
    ready_and_off(m)


def test_signed_image_boots_without_secure_boot(start, setup):
    m = start(variables=OVMF_VARS, disk=setup.signed["usb"])
    m.expect("^bulkhead: Secure Boot is off; this loader's list has 4 files", timeout=120)
    m.expect("all files are in the loader's signed list, but Secure Boot is off", timeout=30, source="core")
    ready_and_off(m)


def flip_a_byte(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def swap_loader(stick, tmp_path, change):
    """Takes the loader from the stick, and puts what `change` makes of it in its place."""
    loader = tmp_path / "loader.efi"
    run("mcopy", "-i", stick[1], "::/EFI/BOOT/BOOTX64.EFI", loader)
    change(loader)
    run("mcopy", "-o", "-i", stick[1], loader, "::/EFI/BOOT/BOOTX64.EFI")


def unsigned(loader):
    shutil.copy(LOADER, loader)


def altered(loader):
    flip_a_byte(loader, 0x1000)


def with_an_altered_list(loader):
    flip_a_byte(loader, loader.read_bytes().index(b"  bulkhead.conf\n") - 1)


@pytest.mark.parametrize("change", [unsigned, altered, with_an_altered_list])
def test_firmware_refuses_the_loader(start, stick, tmp_path, change):
    swap_loader(stick, tmp_path, change)
    m = start(disk=stick[0])
    m.expect(DENIED, timeout=120, forbid=LOADED)


def test_firmware_refuses_a_strangers_signature(start, setup):
    m = start(disk=setup.image("usb", *setup.bad.options(), name="strange"))
    m.expect(DENIED, timeout=120, forbid=LOADED)


def test_signed_loader_without_a_list(start, setup, stick, tmp_path):
    def sign(loader):
        run("sbsign", "--key", setup.good.key, "--cert", setup.good.cert, "--output", loader, LOADER)
    swap_loader(stick, tmp_path, sign)
    m = start(disk=stick[0])
    m.expect("^bulkhead: refused: Secure Boot is on: found no list of files in this loader", timeout=120,
             forbid="starting the core")


def change_last_byte(data):
    return data[:-1] + bytes([data[-1] ^ 1])


ALTERED = {
    "kernel": ("power.img", change_last_byte),
    "core": ("bulkhead.elf", change_last_byte),
    "configuration": ("bulkhead.conf", lambda data: data.replace(b"after=100", b"after=101")),
    "cut-configuration": ("bulkhead.conf", lambda data: data[:-1]),
    "command-line": ("bulkhead.cmdline", lambda data: b"log=error\n"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_altered_file(start, stick, tmp_path, what):
    name, change = ALTERED[what]
    path = tmp_path / name
    run("mcopy", "-i", stick[1], "::/" + name, path)
    path.write_bytes(change(path.read_bytes()))
    run("mcopy", "-o", "-i", stick[1], path, "::/")
    m = start(disk=stick[0])
    m.expect("^bulkhead: refused: %s: found the SHA-256 sum [0-9a-f]{16}..., expected [0-9a-f]{16}... as in the "
             "signed list" % name, timeout=120, forbid="starting the core")
    m.expect("^Press a key to return to the firmware")


def test_missing_command_line(start, stick):
    run("mdel", "-i", stick[1], "::/bulkhead.cmdline")
    m = start(disk=stick[0])
    m.expect("^bulkhead: refused: bulkhead.cmdline: found no such file, expected it, as it is in the signed list",
             timeout=120, forbid="starting the core")


def options_of(setup, *files):
    """Loader with a list of these files only."""
    return make_image("usb", setup.folder / "few.usb", ["EFI/BOOT/BOOTX64.EFI=" + LOADER, *files], "--timeout=0",
                      "--size=42", *setup.good.options())


def test_files_outside_of_the_list(start, setup, tmp_path):
    """A module that the signed configuration names, which comes later; what bulkhead.conf does not name is
    never read."""
    conf = tmp_path / "bulkhead.conf"
    conf.write_text(SMALL + "module = late.bin\n")
    late = tmp_path / "late.bin"
    late.write_bytes(b"late")
    image = options_of(setup, conf, find_module("power.img"), "bulkhead.elf=" + CORE_ELF)
    files = image + "@@1M"
    run("mcopy", "-i", files, late, "::/")
    m = start(disk=image)
    m.expect("^bulkhead: refused: late.bin: found it not in the signed list", timeout=120,
             forbid="starting the core")
    m.close()
    conf.write_text(SMALL)
    image = options_of(setup, conf, find_module("power.img"), "bulkhead.elf=" + CORE_ELF)
    run("mcopy", "-i", files, late, "::/")
    ready_and_off(start(disk=image))


def test_options_of_a_signed_loader(boot, tmp_path, setup):
    """Firmware's words for the loader could turn protection off: they are passed over. Here from the
    shell's script, which an unsigned shell needs Secure Boot off for."""
    disk = make_uefi_disk(tmp_path, SMALL)
    loader, cmdline = tmp_path / "loader.efi", tmp_path / "bulkhead.cmdline"
    for place, to in (("EFI/BOOT/BOOTX64.EFI", loader), ("bulkhead.cmdline", cmdline)):
        run("mcopy", "-o", "-i", setup.signed["usb"] + "@@1M", "::/" + place, to)
    script = tmp_path / "startup.nsh"
    script.write_text("fs0:\\loader.efi log=debug\r\n")
    run("mdel", "-i", disk, "::/EFI/BOOT/BOOTX64.EFI")
    run("mcopy", "-o", "-i", disk, loader, script, cmdline, "::/")
    m = boot(SMALL, uefi=disk, memory=512)
    m.expect("^bulkhead: ignored: the loader's options, which are not in its signed list", timeout=120)
    m.expect("all files are in the loader's signed list", timeout=60, source="core")


def test_edited_stick_is_signed_anew(start, setup, stick, tmp_path):
    """What docs/secure-boot.md tells: edit, then tools/sign_loader.py on the mounted stick."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    run("mcopy", "-s", "-i", stick[1], "::/*", folder)
    (folder / "bulkhead.conf").write_text(SMALL.replace("after=100", "after=200"))
    (folder / "bulkhead.cmdline").unlink()
    run("mdel", "-i", stick[1], "::/bulkhead.cmdline")
    (folder / ".hidden").write_text("x")
    (folder / "read me.txt").write_text("x")
    assert "the loader's list has 3 files" in run(os.path.join(ROOT, "tools", "sign_loader.py"), setup.good.key,
                                                     setup.good.cert, folder)
    loader = folder / "EFI" / "BOOT" / "BOOTX64.EFI"
    assert re.findall(r"^signature \d", run("sbverify", "--list", loader), re.M) == ["signature 1"]
    run("mcopy", "-o", "-i", stick[1], folder / "bulkhead.conf", "::/")
    run("mcopy", "-o", "-i", stick[1], loader, "::/EFI/BOOT/")
    m = start(disk=stick[0])
    m.expect("this loader's list has 3 files", timeout=120)
    m.expect(IS_ON, timeout=30, source="core")
    ready_and_off(m)
    m.close()
    run("mcopy", "-i", stick[1], setup.files["bulkhead.cmdline"], "::/")  # which is not in the list any more
    m = start(disk=stick[0])
    m.expect("^bulkhead: refused: bulkhead.cmdline: found it not in the signed list", timeout=120,
             forbid="starting the core")


@pytest.mark.parametrize("words, error", [
    (["--sign-key=K"], "found a key or a certificate alone, expected both"),
    (["--sign-cert=C"], "found a key or a certificate alone, expected both"),
    (["--sign-key=/nowhere", "--sign-cert=C"], "no such file: /nowhere"),
    (["--sign-key=K", "--sign-cert=C"], "the key K does not belong to the certificate C"),
    (["--sign-key=C", "--sign-cert=K"], "sbsign cannot sign with C and K")],
    ids=["key-alone", "certificate-alone", "no-file", "no-pair", "mixed-up"])
def test_image_is_not_made(setup, tmp_path, words, error):
    shutil.copy(setup.good.key, tmp_path / "K")
    shutil.copy(setup.bad.cert, tmp_path / "C")
    tool = os.path.join(ROOT, "tools", "make_image.py")
    done = subprocess.run([tool, *words, "usb", "out.img", "boot/bulkhead.elf32=" + CORE_ELF, "--",
                           *map(str, setup.contents)], cwd=tmp_path, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 1 and error in done.stderr.decode()
    assert not (tmp_path / "out.img").exists()


def test_the_list_is_what_sha256sum_checks(setup, tmp_path):
    run("mcopy", "-i", setup.signed["usb"] + "@@1M", "::/EFI/BOOT/BOOTX64.EFI", "::/bulkhead.conf",
       "::/bulkhead.cmdline", "::/power.img", "::/bulkhead.elf", tmp_path)
    run("objcopy", "--dump-section", ".sums=list", "BOOTX64.EFI", "copy", cwd=tmp_path)
    (tmp_path / "sums").write_bytes((tmp_path / "list").read_bytes().rstrip(b"\0"))
    assert run("sha256sum", "-c", "--strict", "sums", cwd=tmp_path).count(": OK") == 4
