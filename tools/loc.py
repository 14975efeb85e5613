#!/usr/bin/env python3
"""Counts the core's lines of code: C and assembly, without comments and blank lines."""

import glob
import re
import sys

FOLDERS = ["boot", "lib", "drivers", "arch/x86", "arch/x86/mm", "arch/x86/acpi", "arch/x86/svm",
           "vmm", "vmm/irqchip", "vmm/devices", "vmm/emulate", "vmm/loader"]


def count(path):
    with open(path, encoding="utf-8") as source:
        text = source.read()
    if path.endswith(".asm"):
        text = re.sub(r";.*", "", text)
    else:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"//.*", "", text)
    return sum(1 for line in text.splitlines() if line.strip())


def main():
    total = 0
    for folder in FOLDERS:
        files = [f for kind in ("c", "h", "asm") for f in glob.glob("%s/*.%s" % (folder, kind))]
        lines = sum(count(f) for f in files)
        total += lines
        print("%-16s %3d files %6d lines" % (folder, len(files), lines))
    print("%-16s           %6d lines" % ("the core", total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
