"""A guest that executes random instructions and uses random ports, MSRs and device memory, beside a
healthy VM that stays healthy. FUZZ_GUEST_SECONDS (60) and FUZZ_GUEST_INSTRUCTIONS (10,000,000) bound it
on each machine, FUZZ_GUEST_SEED (1) chooses what it does; `make fuzz-guest` runs it for long."""

import os

import pytest

from fuzz_guest import Campaign
from machines import BOCHS_SVM, EVERYWHERE

SECONDS = int(os.environ.get("FUZZ_GUEST_SECONDS", "60"))
INSTRUCTIONS = int(os.environ.get("FUZZ_GUEST_INSTRUCTIONS", "10000000"))
SEED = int(os.environ.get("FUZZ_GUEST_SEED", "1"))


# Bochs 2.7 takes the processor away from a VM with AMD-V only while that has IF set (machines.py): only
# ring 3 there, where code cannot clear it.
WORDS = {BOCHS_SVM: "if modes=64r3,32r3"}


@EVERYWHERE
@pytest.mark.slow
def test_fuzz_guest_hurts_nobody(boot, machine_name, capsys):
    campaign = Campaign(boot, SEED, WORDS.get(machine_name, ""))
    campaign.run(SECONDS, INSTRUCTIONS)
    with capsys.disabled():
        print("\n" + campaign.summary())
    campaign.check()
    assert campaign.instructions > 0
