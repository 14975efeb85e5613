"""Steal time: Linux knows how much of its time another VM had."""

import pytest

from bulkhead import config, vm
from machines import QEMU_SVM, on

STEAL = 8  # in a cpu line of /proc/stat, the name first


def ticks(line):
    return [int(word) for word in line.split()[1:11]]


@on(QEMU_SVM)
@pytest.mark.parametrize("rival", [True, False])
def test_steal_is_what_others_had(boot, rival):
    vms = [vm("l", cpus="0")] + ([vm("s", "spin.img", cpus="0", cmdline="pause")] if rival else [])
    m = boot(config(*vms))
    m.expect("^Welcome", source="l", timeout=120)
    lines, _ = m.run("l", "head -n 1 /proc/stat; end=$(($(date +%s) + 5)); "
                          "while [ $(date +%s) -lt $end ]; do :; done; head -n 1 /proc/stat", timeout=60)
    before, after = (ticks(line) for line in lines)
    spent = [b - a for a, b in zip(before, after)]
    part = spent[STEAL - 1] / sum(spent)
    assert (0.35 < part < 0.65) if rival else part < 0.05, spent
    # What serves several vCPUs is not offered to one.
    assert m.run("l", "dmesg | grep -E 'PV IPIs|TLB flush|PV sched yield|PV spinlocks enabled'")[0] == []
