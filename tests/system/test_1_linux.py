"""Two unmodified Debian kernels side by side. The tests share one machine and run in this order."""

import re
import time

import pytest

from bulkhead import config, vm

NAMES = ["linux1", "linux2"]

# Kernel messages of level warning and above that are right, each with its reason.
KNOWN_WARNINGS = [
    # Natively on QEMU's EPYC the same two lines: a Zen processor without the newer microcode.
    r"Speculative Return Stack Overflow: (IBPB-extending microcode not applied|WARNING: See)",
    # QEMU's time is the host's: a busy host can stop it between two instructions of the timer's handler.
    r"hrtimer: interrupt took \d+ ns",
]


@pytest.mark.parametrize("name", NAMES)
def test_shell_answers(two_linux, name):
    lines, status = two_linux.run(name, "hostname; echo $((6 * 7))")
    assert status == 0
    assert lines == [name, "42"]


@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_debians(two_linux, name):
    lines, _ = two_linux.run(name, "uname -r; uname -v")
    assert re.fullmatch(r"6\.\d+\.\d+-\d+-cloud-amd64", lines[0])
    assert "Debian" in lines[1]


@pytest.mark.parametrize("name", NAMES)
def test_memory(two_linux, name):
    lines, _ = two_linux.run(name, "head -n 1 /proc/meminfo")
    total = int(re.fullmatch(r"MemTotal: +(\d+) kB", lines[0]).group(1))
    # Of 256 MiB the kernel keeps some for itself.
    assert 190 * 1024 < total <= 256 * 1024


@pytest.mark.parametrize("name", NAMES)
def test_date(two_linux, name):
    before = time.time()
    lines, _ = two_linux.run(name, "date -u +%s")
    assert before - 3 <= int(lines[0]) <= time.time() + 3


@pytest.mark.parametrize("name", NAMES)
def test_sleep_against_host_clock(two_linux, name):
    m = two_linux
    seen = []
    for _ in range(3):  # a busy host may spoil one
        m.focus(m.index_of(name))
        m.send("echo t'1'; sleep 2; echo t'2'\n")
        start = m.expect("^t1$", source=name).time
        seen.append(m.expect("^t2$", source=name).time - start)
        if abs(seen[-1] - 2) <= 0.1:
            return
    pytest.fail("sleep 2 took %s s" % ", ".join("%.3f" % s for s in seen))


@pytest.mark.parametrize("name", NAMES)
def test_timer_interrupts_count(two_linux, name):
    count = ("awk '$1 == \"LOC:\" || ($1 == \"0:\" && $NF == \"timer\") { n += $2 } END { print n }' "
             "/proc/interrupts")
    first, _ = two_linux.run(name, count)
    two_linux.run(name, "sleep 1")
    second, _ = two_linux.run(name, count)
    assert int(second[0]) - int(first[0]) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_dmesg_has_no_warnings(two_linux, name):
    lines, _ = two_linux.run(name, "dmesg -r | grep '^<[0-4]>'")
    unknown = [line for line in lines
               if line and not any(re.search(known, line) for known in KNOWN_WARNINGS)]
    assert unknown == []


@pytest.mark.parametrize("name", NAMES)
def test_clock_is_trusted(two_linux, name):
    lines, status = two_linux.run(name, "dmesg | grep -i 'unstable\\|clocksource.*skew'")
    assert lines == [] and status != 0
    lines, _ = two_linux.run(
        name, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    assert lines[0] in ("kvm-clock", "tsc")


@pytest.mark.parametrize("name", NAMES)
def test_knows_its_hypervisor(two_linux, name):
    lines, _ = two_linux.run(name, "dmesg | grep 'Hypervisor detected'")
    assert len(lines) == 1 and lines[0].endswith("KVM")
    lines, _ = two_linux.run(name, "grep -c hypervisor /proc/cpuinfo")
    assert lines == ["1"]
    _, status = two_linux.run(name, "grep -q svm /proc/cpuinfo")
    assert status != 0, "the guest sees SVM, which it cannot use"


def test_files_are_separate(two_linux):
    two_linux.run("linux1", "echo one > /tmp/x")
    two_linux.run("linux2", "echo two > /tmp/x")
    assert two_linux.run("linux1", "cat /tmp/x")[0] == ["one"]
    assert two_linux.run("linux2", "cat /tmp/x")[0] == ["two"]


def test_floating_point_survives_switches(two_linux):
    # Both at once: bc uses the FPU and SSE registers; the same sum must come out each time.
    sums = ("for i in 1 2 3 4 5 6 7 8; do echo 's(1)*l(7)+e(2)' | bc -l; done | uniq -c | "
            "awk '{ print $1 }'")
    two_linux.run("linux2", "(%s) > /tmp/sums & true" % sums)
    assert two_linux.run("linux1", sums, timeout=60)[0] == ["8"]
    two_linux.run("linux2", "wait")
    assert two_linux.run("linux2", "cat /tmp/sums")[0] == ["8"]


def test_keyboard_help(two_linux):
    two_linux.send("\x01?")
    two_linux.expect(r"(?i)ctrl-a.*\bq\b|\bq\b.*power", timeout=10)


def test_monitor_answers(two_linux):
    two_linux.focus(0)
    two_linux.expect(r"bulkhead> ?$", timeout=10, partial=True)
    two_linux.send("help\r")
    two_linux.expect(r"(?i)help", timeout=10)
    two_linux.send("\x012")
    assert two_linux.run("linux2", "echo back")[0] == ["back"]


def test_long_output_does_not_mix(two_linux):
    # Both print at once; every line of each must come out whole and in order.
    numbers = ("i=0; while [ $i -lt 200 ]; do i=$((i+1)); "
               "echo line-$i-abcdefghijklmnopqrstuvwxyz; done")
    two_linux.run("linux2", "(sleep 1; echo; %s; echo all'done') & true" % numbers)
    lines, _ = two_linux.run("linux1", numbers, timeout=60)
    expected = ["line-%d-abcdefghijklmnopqrstuvwxyz" % i for i in range(1, 201)]
    assert lines == expected
    two_linux.expect("^alldone$", timeout=60, source="linux2")
    # The first one follows the shell's prompt.
    other = [re.search(r"line-\d+-[a-z]+$", line) for line in two_linux.output_of("linux2")]
    assert [match.group(0) for match in other if match] == expected


def test_reboot_restarts_that_vm_only(two_linux):
    m = two_linux
    before = float(m.run("linux2", "cut -d' ' -f1 /proc/uptime")[0][0])
    m.run("linux1", "echo gone > /tmp/mark")
    m.focus(1)
    m.send("reboot\n")
    m.expect(r"Welcome to linux1", timeout=120, source="linux1")
    m.shell("linux1")
    assert m.run("linux1", "ls /tmp")[0] == []
    assert float(m.run("linux1", "cut -d' ' -f1 /proc/uptime")[0][0]) < 60
    assert float(m.run("linux2", "cut -d' ' -f1 /proc/uptime")[0][0]) > before


def test_poweroff_leaves_the_other(two_linux):
    m = two_linux
    m.run("linux2", "echo two > /tmp/x")
    m.focus(1)
    m.send("poweroff\n")
    m.expect("linux1: ended: powered off", timeout=30, source="core")
    assert m.run("linux2", "echo alive")[0] == ["alive"]
    m.quiet_for(2)
    assert m.run("linux2", "cat /tmp/x")[0] == ["two"]


def test_last_vm_ends_the_machine(boot):
    m = boot(config(vm("linux"), vm("first", "power.img", cmdline="off after=200")))
    m.expect("first: ended: powered off", source="core")
    m.shell("linux")
    m.send("poweroff\n")
    m.expect("the last VM has ended: powering off", timeout=30, source="core")
    assert m.wait_exit(30) == 0
