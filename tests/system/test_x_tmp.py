import time
from bulkhead import config, vm
from machines import QEMU_SVM, BOCHS_VMX, BOCHS_SVM, EVERYWHERE, on
import pytest

@EVERYWHERE
def test_other_cpu(boot, machine_name):
    m = boot(config(vm("a", "counter.img", cmdline="checksum period=500", cpus="1"),
                    vm("b", "counter.img", cmdline="checksum period=500", cpus="0"),
                    core="console = com1\nlog = debug\nwhen-done = halt\n"), memory=256, cpus=2)
    for i in range(3):
        m.expect("^checksum ok", source="a", timeout=60)
        m.expect("^checksum ok", source="b", timeout=60)
    m.focus(0)
    m.send("stat\r")
    m.send("reset a\r")
    m.expect("a: started", source="core")
    m.expect("^checksum ok", source="a", timeout=60)
    m.send("stop a\r")
    m.expect("a: ended: stopped", source="core")
    m.send("start a\r")
    m.expect("^checksum ok", source="a", timeout=60)
    m.send("list\r")
    time.sleep(1)
    m.send("poweroff\r")
    assert m.wait_exit(20) == 0
    print(m.text())
