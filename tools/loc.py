#!/usr/bin/env python3
"""Counts the core's lines of code, C and assembly, without comments and blank lines; and, in what
was built last (BUILD, ./build), the bytes of machine code before the linker drops what nothing uses."""

import glob
import os
import re
import subprocess
import sys

FOLDERS = ["boot", "lib", "drivers", "arch/x86", "arch/x86/mm", "arch/x86/acpi", "arch/x86/svm",
           "arch/x86/vmx", "vmm", "vmm/irqchip", "vmm/devices", "vmm/emulate", "vmm/loader"]


def count(path):
    with open(path, encoding="utf-8") as source:
        text = source.read()
    if path.endswith(".asm"):
        text = re.sub(r";.*", "", text)
    else:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"//.*", "", text)
    return sum(1 for line in text.splitlines() if line.strip())


def text_bytes(folder):
    objects = glob.glob("%s/core/%s/*.o" % (os.environ.get("BUILD", "build"), folder))
    if not objects:
        return 0
    sections = subprocess.run(["size", "-A"] + objects, check=True, capture_output=True, text=True)
    return sum(int(size) for size in re.findall(r"(?m)^\.(?:init\.)?text\S*\s+(\d+)",
                                                sections.stdout))


def main():
    total = total_text = 0
    for folder in FOLDERS:
        files = [f for kind in ("c", "h", "asm") for f in glob.glob("%s/*.%s" % (folder, kind))]
        lines = sum(count(f) for f in files)
        text = text_bytes(folder)
        total += lines
        total_text += text
        print("%-16s %3d files %6d lines %7d bytes" % (folder, len(files), lines, text))
    print("%-16s           %6d lines %7d bytes" % ("the core", total, total_text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
