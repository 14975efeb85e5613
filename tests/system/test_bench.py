"""No exit has become dearer: the bench guest's figures against tests/bench/baseline.json.

Emulators count instructions, so a figure is the same each time. Where it is not quite, VARYING says why.
"""

import json
import os
import sys

import pytest

from bulkhead import ROOT
from machines import BOCHS_SVM, BOCHS_VMX, QEMU_SVM

sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))

import exit_cost  # noqa: E402

ALLOWED = 0.03
UPDATE = ("An intended change: `make bench-baseline` writes tests/bench/baseline.json anew; commit it with the "
          "change, and say why. `make bench BASE=HEAD` shows both, row by row.")


def dearer(machine, baseline, rows):
    """What is wrong, a line a row."""
    for name in sorted(set(baseline) | set(rows)):
        before, now = baseline.get(name), exit_cost.value(rows.get(name, {}))
        if name not in baseline:
            yield "%s on %s: a new row (%s), not in the file" % (name, machine, now)
        elif before is not None and now is None:
            yield "%s on %s: was %d, is not measured any more: %s" % (
                name, machine, before, rows.get(name, {}).get("skip", "no such row"))
        elif before is None and now is not None:
            yield "%s on %s: was not there, is %d" % (name, machine, now)
        elif now is not None and now > before * (1 + ALLOWED) + exit_cost.VARYING.get(name, 0):
            yield "%s on %s: was %d, is %d (%+.1f %%)" % (
                name, machine, before, now, 100.0 * (now - before) / before)


@pytest.mark.parametrize("machine", [QEMU_SVM, BOCHS_SVM, BOCHS_VMX])
def test_no_exit_is_dearer(machine):
    with open(exit_cost.BASELINE, encoding="utf-8") as file:
        baseline = json.load(file)[machine]
    wrong = list(dearer(machine, baseline, exit_cost.measure(machine)))
    assert not wrong, "\n".join(["instructions a round trip, more than %.0f %% above the baseline:"
                                 % (100 * ALLOWED)] + wrong + [UPDATE])


def test_a_row_that_grows_is_named():
    def one(before, now):
        return list(dearer("m", {"row": before}, {"row": {"median": now} if now else {"skip": "why"}}))

    assert one(100, 103) == []
    assert one(100, 50) == []
    assert one(100, 104) == ["row on m: was 100, is 104 (+4.0 %)"]
    assert one(1, 2) == ["row on m: was 1, is 2 (+100.0 %)"]
    assert one(100, None) == ["row on m: was 100, is not measured any more: why"]
    assert one(None, 7) == ["row on m: was not there, is 7"]
    assert one(None, None) == []
    assert list(dearer("m", {}, {"new": {"median": 5}})) == ["new on m: a new row (5), not in the file"]
    assert list(dearer("m", {"old": 5}, {})) == ["old on m: was 5, is not measured any more: no such row"]
