"""Ten minutes of a guest's time: its clocks and the machine's agree at the end, and timers came when they should."""


from bulkhead import config, vm

MINUTES = 10


def machine_ms(m):
    """The machine's time since boot, by the monitor."""
    m.focus(0)
    m.send("sched\r")
    answer = m.expect(r"^CPU 0: idle \d+ ms of (\d+), load", source="core", timeout=60)
    m.focus(1)
    return int(answer.group(1))


def clocks(m):
    """Seconds of kvmclock (monotonic), of the wall clock, and of the RTC; local timer interrupts of CPU 1."""
    lines, _ = m.run("l", "cut -d' ' -f1 /proc/uptime; date +%s; cat /sys/class/rtc/rtc0/since_epoch; "
                          "grep LOC: /proc/interrupts", timeout=120)
    return [float(lines[0]), float(lines[1]), float(lines[2])], int(lines[3].split()[2])


def test_no_drift_in_ten_minutes(boot):
    """Two vCPUs on one processor. Idle time passes at once under icount, everything else by the instructions."""
    m = boot(config(vm("l", vcpus="2")), icount=True)
    m.shell("l", timeout=60)
    before, ticks = clocks(m)
    start = machine_ms(m)
    # In each second a sleeper on the second CPU: a late timer shows in what it adds up to.
    lines, _ = m.run("l", "taskset 2 sh -c 'i=0; while [ $i -lt %d ]; do sleep 10; i=$((i+1)); done'; echo slept"
                     % (MINUTES * 6), timeout=600)
    assert lines[-1] == "slept"
    end = machine_ms(m)
    after, ticks_after = clocks(m)
    spent = (end - start) / 1000
    assert MINUTES * 60 <= spent < MINUTES * 60 + 5, spent
    for old, new in zip(before, after):
        assert abs(new - old - spent) < 2.5, (before, after, spent)
    assert ticks_after > ticks + MINUTES * 6
    wrong, _ = m.run("l", "dmesg | grep -iE 'clocksource.*(unstable|skew)|lost.*ticks|stall|lockup'")
    assert wrong == []
