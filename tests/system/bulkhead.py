"""Machines that run Bulkhead: what they boot, and QEMU. bochs.py has Bochs, console.py the serial line."""

import os
import re
import shutil
import subprocess

from console import CORE_SOURCE, SCALE, Console, Failure, end_with_parent  # noqa: F401

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(ROOT, "build"))
# The core that checks itself (make CHECKS=1); with BULKHEAD_CHECKS=1 all tests run on it.
CHECKED_CORE = os.path.join(BUILD if os.path.basename(BUILD) == "checks" else os.path.join(BUILD, "checks"),
                            "bulkhead.elf32")
CORE = CHECKED_CORE if os.environ.get("BULKHEAD_CHECKS") == "1" else os.path.join(BUILD, "bulkhead.elf32")
CORE_ELF = CORE[:-len("32")]  # what the UEFI loader takes
UEFI_LOADER = os.path.join(BUILD, "BOOTX64.EFI")
OVMF_CODE, OVMF_VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
GUESTS = os.path.join(BUILD, "guest")
TEST_GUESTS = os.path.join(GUESTS, "tests")

# TCG warns of each feature of the model that it does not emulate: those are taken out.
CPU = ("EPYC,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,"
       "-xsavec,+svm,+npt,+vgif")
# QEMU's TCG, above all with -icount, delivers interrupts of EVENTINJ twice at times (docs/testing.md).
NO_EVENTINJ = "off=event-injection"
# A run under this many instructions a virtual nanosecond is the same each time.
ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01T00:00:00,clock=vm", "-seed", "42"]


def vm(name, kernel="vmlinuz", memory=None, **keys):
    """The text of a [vm] section. A key with value None is left out."""
    linux = kernel == "vmlinuz"
    values = {"kernel": kernel, "memory": memory or ("256M" if linux else "32M"), "vcpus": "1"}
    if linux:
        values["initrd"] = "guest.cpio.gz"
        values["cmdline"] = "console=ttyS0 vmname=%s quiet" % name
    values.update(keys)
    lines = ["%s = %s" % (key, value) for key, value in values.items() if value is not None]
    return "[vm %s]\n%s\n" % (name, "\n".join(lines))


def config(*vms, core="console = com1\nlog = info\n"):
    return "[core]\n" + core + "\n" + "\n".join(vms)


def find_module(name):
    for folder in (GUESTS, TEST_GUESTS):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError("no guest file %s: make guests" % name)


def modules_of(text):
    """The files that a configuration names, each once."""
    names = re.findall(r"^\s*(?:kernel|initrd|module)\s*=\s*(\S+)", text, re.M)
    return [find_module(name) for name in dict.fromkeys(names)]


def module_files(tmp, conf, modules=None):
    """Paths of all modules: bulkhead.conf with the text `conf`, written to `tmp` (None: no such module),
    and `modules`, or what `conf` names."""
    files = []
    if conf is not None:
        files.append(os.path.join(str(tmp), "bulkhead.conf"))
        with open(files[0], "w", encoding="utf-8", newline="") as out:
            out.write(conf)
    return files + (modules_of(conf or "") if modules is None else [str(m) for m in modules])


def uefi_firmware(tmp):
    """Arguments for OVMF, with variables of its own."""
    variables = os.path.join(str(tmp), "vars.fd")
    shutil.copyfile(OVMF_VARS, variables)
    return ["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + OVMF_CODE,
            "-drive", "if=pflash,format=raw,unit=1,file=" + variables]


class Machine(Console):
    """QEMU with the core in it. `conf` is the text of bulkhead.conf (None: no such module)."""

    emulator = "QEMU"

    def __init__(self, tmp, conf, memory=1024, machine="q35", cpu=CPU, icount=False, extra=(),
                 modules=None, iso=None, disk=None, cmdline=None, cpus=1, core=CORE, uefi=None,
                 serial=("-serial", "chardev:con")):
        self.reset(conf)
        args = ["qemu-system-x86_64", "-accel", "tcg", "-machine", machine, "-m", str(memory),
                "-cpu", cpu, "-nodefaults", "-display", "none", "-monitor", "none",
                "-chardev", "stdio,id=con,signal=off", *serial]
        if icount:
            args += ICOUNT
            cmdline = NO_EVENTINJ if cmdline is None else cmdline
        if cpus > 1:
            args += ["-smp", str(cpus)]
        if iso:
            args += ["-cdrom", iso, "-boot", "d"]
        elif disk:
            args += ["-drive", "if=none,id=stick,format=raw,snapshot=on,file=%s" % disk, "-device",
                     "qemu-xhci", "-device", "usb-storage,id=usbstick,drive=stick,bootindex=0"]
        elif uefi:
            args += uefi_firmware(tmp) + ["-drive", "if=none,format=raw,id=d0,file=" + uefi, "-device",
                                          "ide-hd,drive=d0,bootindex=0"]
        else:
            args += self.kernel_args(module_files(tmp, conf, modules), cmdline, core)
        self.args = args + list(extra)
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=end_with_parent)
        self.output = self.process.stdout.fileno()
        self.watch()

    @staticmethod
    def kernel_args(files, cmdline, core=CORE):
        args = ["-kernel", core]
        if files:
            args += ["-initrd", ",".join(files)]
        if cmdline:
            args += ["-append", cmdline]
        return args

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def release(self):
        self.process.stdin.close()
        self.process.stdout.close()


def make_image(kind, out, contents, *options):
    """An image of that kind (tools/make_image.py) with the core, GRUB for BIOS, and `contents`."""
    tool = os.path.join(ROOT, "tools", "make_image.py")
    done = subprocess.run([tool, *options, kind, str(out), "boot/bulkhead.elf32=" + CORE, *map(str, contents)],
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure("%s: tools/deps.sh test\n%s" % (tool, done.stdout.decode()))
    return str(out)


def make_iso(tmp, conf, protocol=2, modules=None, cmdline=None, madt=None, graphics=False, prepare=""):
    """A GRUB ISO in `tmp` with the core, this configuration and what it names. `madt`: a file that
    takes the place of the machine's ACPI table of that name. `graphics`: GRUB sets the mode that the core
    asks for. `prepare`: commands of GRUB's."""
    return make_image("iso", os.path.join(str(tmp), "bulkhead.iso"),
                      module_files(tmp, conf, modules) + (["boot/madt.aml=%s" % madt] if madt else []),
                      "--timeout=0", "--protocol=%d" % protocol, "--cmdline=" + (cmdline or ""),
                      "--prepare=" + prepare,
                      *(["--graphics"] if graphics else []))


def make_uefi_disk(tmp, conf, modules=None, core=CORE_ELF, cmdline=None):
    """A FAT disk image in `tmp` with the UEFI loader, this core (None: none), configuration and what that
    names. `cmdline`: the text of bulkhead.cmdline, behind `menu=0`, unless it has a word for the menu."""
    if not shutil.which("mformat") or not os.path.exists(OVMF_CODE):
        raise Failure("mtools or OVMF is not installed: tools/deps.sh test")
    files = module_files(tmp, conf, modules)
    if core:
        files.append(os.path.join(str(tmp), "bulkhead.elf"))
        shutil.copyfile(core, files[-1])
    files.append(os.path.join(str(tmp), "bulkhead.cmdline"))
    with open(files[-1], "w", encoding="utf-8", newline="") as out:
        out.write(cmdline if "menu" in (cmdline or "") else "menu=0 " + (cmdline or ""))
    disk = os.path.join(str(tmp), "uefi.img")
    with open(disk, "wb") as out:
        out.truncate((64 << 20) + sum(os.path.getsize(name) for name in files))
    for command in (["mformat", "-i", disk, "-F", "::"], ["mmd", "-i", disk, "::/EFI", "::/EFI/BOOT"],
                    ["mcopy", "-i", disk, UEFI_LOADER, "::/EFI/BOOT/BOOTX64.EFI"],
                    ["mcopy", "-i", disk] + files + ["::/"]):
        subprocess.run(command, check=True)
    return disk
