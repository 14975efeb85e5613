"""Ways in, machines, and clear refusals."""

import os
import re
import shutil
import subprocess

import pytest

from bulkhead import BUILD, CPU, TEST_GUESTS, config, make_iso, vm
from machines import BOCHS_SVM, BOCHS_VMX, EVERYWHERE, QEMU_SVM, on

SMALL = config(vm("p", "power.img", cmdline="off after=100", memory="16M"))
CORE_DEBUG = "console = com1\nlog = debug\n"
PVH = os.path.join(BUILD, "bulkhead.pvh")
ALL_ENDED = "the last VM has ended: powering off"


def ready_and_off(machine, timeout=60):
    machine.expect("^READY", timeout=timeout, source="p")
    machine.expect(ALL_ENDED, source="core")
    assert machine.wait_exit() == 0


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("memory", [1024, 6144])
def test_machines(boot, machine, memory):
    m = boot(SMALL, machine=machine, memory=memory)
    ready_and_off(m)


def test_guest_memory_above_4_gib(boot):
    # 5 GiB of guests in a machine of 6 GiB: some of it must lie above 4 GiB.
    m = boot(config(*[vm("v%d" % i, "counter.img", cmdline="checksum period=500", memory="1280M")
                      for i in range(4)]), memory=6144)
    for i in range(4):
        m.expect("^checksum ok", timeout=120, source="v%d" % i, forbid="FAIL")


def test_linux_with_3_gib(boot):
    m = boot(config(vm("big", memory="3G")), memory=6144)
    m.shell("big", timeout=170)
    lines, _ = m.run("big", "head -n 1 /proc/meminfo")
    total = int(re.search(r"(\d+) kB", lines[0]).group(1))
    assert 2.8 * 1024 * 1024 < total <= 3 * 1024 * 1024


def test_multiboot1_by_qemu(boot):
    m = boot(SMALL)
    m.expect(r"(?i)multiboot ?1", source="core")
    ready_and_off(m)


@pytest.mark.parametrize("protocol", [1, 2])
def test_multiboot_by_grub(boot, tmp_path, protocol):
    m = boot(SMALL, iso=make_iso(tmp_path, SMALL, protocol))
    m.expect(r"(?i)multiboot ?%d" % protocol, timeout=90, source="core")
    ready_and_off(m)


def test_multiboot2_puts_the_core_elsewhere(boot, tmp_path):
    """As high as there is room, far from where it is linked; the VM still gets all of its memory."""
    conf = config(vm("p", "power.img", cmdline="off after=100", memory="16M"), core=CORE_DEBUG)
    m = boot(conf, iso=make_iso(tmp_path, conf), memory=256)
    at = int(m.expect("boot: the core stands at 0x([0-9a-f]+)", timeout=90, source="core").group(1), 16)
    assert at > 128 << 20 and at % (2 << 20) == 0
    ready_and_off(m)


def bundle(tmp_path, conf, names):
    """What goes with the core to a loader that takes one file beside it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bulkhead.conf").write_text(conf)
    for name in names:
        shutil.copy(os.path.join(TEST_GUESTS, name), folder)
    out = tmp_path / "bundle.cpio"
    with open(out, "wb") as file:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=folder, stdout=file, check=True,
                       input="\n".join(["bulkhead.conf"] + names).encode())
    return out


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_pvh(boot, tmp_path, machine):
    """The image without a multiboot header, which QEMU boots by its PVH note."""
    m = boot(None, core=PVH, modules=[bundle(tmp_path, SMALL, ["power.img"])], machine=machine, memory=256)
    m.expect("booted by PVH, 2 modules")
    m.expect(r"^p\| READY")
    m.expect(ALL_ENDED)
    assert m.wait_exit() == 0


@pytest.mark.parametrize("machine", ["microvm", "microvm,acpi=off"])
def test_pvh_on_a_microvm(boot, tmp_path, machine):
    """As small virtual machine monitors build them: no PCI, power registers in memory or no ACPI at all, and
    a PIT without port 0x61."""
    m = boot(None, core=PVH, modules=[bundle(tmp_path, SMALL, ["power.img"])], machine=machine, memory=256)
    m.expect("booted by PVH, 2 modules")
    m.expect("time: TSC .* by PIT")
    m.expect(r"^p\| READY")
    m.expect(ALL_ENDED)
    if "off" in machine:
        m.expect("error no ACPI S5 state to power off with; it is safe to turn the machine off by hand")
    else:
        assert m.wait_exit() == 0


def test_pvh_with_a_damaged_bundle(boot, tmp_path):
    path = bundle(tmp_path, SMALL, ["power.img"])
    path.write_bytes(path.read_bytes()[:30000])
    m = boot(None, core=PVH, modules=[path], memory=256)
    m.expect("the bundle of modules is damaged at byte [0-9]+ of 30000: expected a header of cpio", source="core")
    m.expect("boot stops: the boot loader's information cannot be used", source="core")


@EVERYWHERE
def test_check(boot, machine_name):
    """The word `check`: a page on what the machine has, and no VM, whatever is in the configuration."""
    m = boot(SMALL.replace("memory", "memori"), cmdline="check")
    m.expect("check: processors: 1 started of 1 ")
    m.expect("check: virtualization: yes")
    m.expect(r"check: IOMMU: none: no DMAR or IVRS table")
    m.expect(r"check: TSC: \d+\.\d+ MHz, .*deadline timer: %s" % ("no" if machine_name == QEMU_SVM else "(yes|no)"))
    m.expect(r"check: memory: \d+ MiB that can be used")
    m.expect("check: serial port: COM1 at port 0x3f8")
    m.expect("check: end: no VM is started")
    assert "error" not in m.text()


def test_check_of_a_machine_with_less_and_more(boot):
    """Without AMD-V, which ends any other boot; with VT-d."""
    m = boot(None, modules=[], cmdline="check", cpu=CPU.replace("+svm", "-svm"), cpus=2,
             machine="q35,kernel-irqchip=split", extra=["-device", "intel-iommu,intremap=on"])
    m.expect("error this processor has|error .*AMD-V")
    m.expect("check: processors: 2 that the firmware lists")
    m.expect("check: virtualization: NO: this processor has neither VT-x nor AMD-V")
    m.expect(r"check: IOMMU: VT-d \(DMAR table\), interrupt remapping: yes")
    m.expect("check: end: no VM is started")


PHASES = ["setting up the core's memory", "reading the ACPI tables", "measuring the clock", "reading the real-time clock",
          "turning on virtualization", "setting up the interrupt controllers", "starting the other CPUs",
          "counting the guests' memory", "creating the VMs", "starting the VMs"]


@pytest.mark.parametrize("name", ["p", "linux1"])
def test_first_mile(boot, name):
    """From the core's first instruction to the first VM's, in virtual time: under 50 ms, less for what is not a copy of
    the VM's images. Each phase is said before it begins."""
    conf = SMALL if name == "p" else config(vm("linux1"))
    m = boot(conf, icount=True, memory=4096, cmdline="log=debug")
    for phase in PHASES:
        m.expect("boot: " + phase, source="core", timeout=60)
    m.expect("started, ", source="core", timeout=60)
    lines = [line for when, who, line in m.lines if who == "core"]
    at = {text: float(t) for t, text in re.findall(r"^\[ +([\d.]+)\] \w+ +(.*)$", "\n".join(lines), re.M)}
    start = at["boot: starting the VMs"]
    started = next(t for text, t in at.items() if "started, " in text and "entry" in text)
    print("boot %.1f ms, images %.1f ms" % (1000 * start, 1000 * (started - start)))
    assert start < 0.020 and started < 0.050


# A second of virtual time in 4 million instructions, as on Bochs: clearing memory takes most of a minute.
SLOW = ["-icount", "shift=8,sleep=off", "-rtc", "base=2024-01-01T00:00:00,clock=vm"]


@on(QEMU_SVM, BOCHS_SVM, BOCHS_VMX)
def test_slow_phase_is_named(boot, machine_name):
    """The watchdog's line, by an interrupt in the middle of a phase: which, since when, how far; nothing after boot."""
    slow = {"extra": SLOW} if machine_name == QEMU_SVM else {"ips": 1000000}
    m = boot(config(vm("p", "power.img", cmdline="off after=30000", memory="16M"),
                    core="console = com1\nlog = warn\nscrub-at-boot = yes\n"), memory=1024, **slow)
    m.expect("^READY", timeout=120, source="p")
    lines = re.findall(r"\[ +([\d.]+)\] warn +boot: still (.*) after (\d+) s: (\d+) of (\d+) MiB", m.text())
    assert len(lines) >= 2
    assert {what for _, what, *_ in lines} == {"clearing the guests' memory"}
    assert [int(after) for _, _, after, _, _ in lines] == [10 * (i + 1) for i in range(len(lines))]
    assert all(10 * i < float(at) < 10 * i + 2 for i, (at, *_) in enumerate(lines, 1))
    done = [int(n) for *_, n, _ in lines] + [int(lines[0][-1])]
    assert all(a < b for a, b in zip(done, done[1:]))
    assert m.wait_exit(timeout=60) == 0
    assert m.text().count("boot: still") == len(lines)


def test_linux_by_grub_iso(boot, tmp_path):
    conf = config(vm("linux1"), vm("linux2"))
    m = boot(conf, iso=make_iso(tmp_path, conf), memory=2048)
    m.shell("linux1", timeout=170)
    m.shell("linux2", timeout=60)
    assert m.run("linux1", "hostname")[0] == ["linux1"]


@pytest.mark.parametrize("cpu, missing", [
    (CPU.replace("+svm,+npt,+vgif", "-svm"), r"no AMD-V \(SVM\)"),
    (CPU.replace("+npt", "-npt"), r"not nested paging \(NPT\)"),
    (CPU + ",-nx", r"no NX"),
], ids=["no-svm", "no-npt", "no-nx"])
def test_refuses_a_processor_by_name(boot, cpu, missing):
    m = boot(SMALL, cpu=cpu)
    m.expect(r"refused: .*(%s)" % missing, timeout=20)
    assert "READY" not in m.text()


def test_unemulated_features_of_the_newest_model(boot):
    m = boot(SMALL, cpu="max")
    ready_and_off(m)


@EVERYWHERE
def test_log_lines_have_time_and_level(boot):
    m = boot(SMALL)
    ready_and_off(m)
    # "-.------" until the TSC's frequency is known.
    stamps = [float(s) for s in re.findall(r"(?m)^\[ *(\d+\.\d{6})\] (?:info|warn|error|debug)\b",
                                           m.text())]
    assert len(stamps) >= len(re.findall(r"(?m)^\[", m.text())) - 5
    assert len(stamps) >= 5
    assert stamps == sorted(stamps)


@EVERYWHERE
def test_same_run_twice_is_the_same(boot):
    first, second = boot(SMALL, icount=True), boot(SMALL, icount=True)
    ready_and_off(first, 120)
    ready_and_off(second, 120)
    assert first.text() == second.text()
