#!/usr/bin/env python3
"""What a crash code says: crash_code.py CODE [bulkhead.elf]

The code stands on the screen and in the serial log after a crash of the core. The ELF file of the same
build (build/bulkhead.elf, when none is given) has the names of the functions. Exit status: 0, or 1 when
the code was not copied as it was shown, or 2 for wrong usage.
"""

import os
import struct
import sys

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHARACTERS, CHAR_BITS = 24, 5
CRC_BITS, CRC_POLYNOMIAL = 10, 0x233
# As in lib/crash_code.c, from the first bit on.
FIELDS = [("format", 1), ("modified", 1), ("checks", 1), ("commit", 32), ("vector", 6), ("error", 3),
          ("at", 22), ("by", 22), ("by2", 22)]
PANIC, NO_FRAME, PAGE_FAULT = 63, 0x3FFFFF, 14
EXCEPTIONS = {0: "#DE divide error", 1: "#DB debug", 2: "NMI", 3: "#BP breakpoint", 4: "#OF overflow",
              5: "#BR bound range", 6: "#UD invalid opcode", 7: "#NM no x87", 8: "#DF double fault", 10: "#TS invalid TSS",
              11: "#NP not present", 12: "#SS stack fault", 13: "#GP protection fault", 14: "#PF page fault",
              16: "#MF x87 error", 17: "#AC alignment", 18: "#MC machine check", 19: "#XM SIMD error"}


class Wrong(Exception):
    """The code is not one that the core has shown."""


def decode(code):
    """The code's fields, by name."""
    text = code.upper().translate(str.maketrans("OIL", "011", "- \t\r\n"))
    for c in text:
        if c not in ALPHABET:
            raise Wrong("%r is in no code; the letter U never is, and 0 and 1 stand for O, I and L" % c)
    if len(text) != CHARACTERS:
        raise Wrong("it has %d characters, expected %d" % (len(text), CHARACTERS))
    bits = 0
    for c in text:
        bits = bits << CHAR_BITS | ALPHABET.index(c)
    left = CHARACTERS * CHAR_BITS - CRC_BITS
    payload, crc = bits >> CRC_BITS, (1 << CRC_BITS) - 1
    for i in reversed(range(left)):
        out = (crc >> (CRC_BITS - 1) ^ payload >> i) & 1
        crc = crc << 1 & ((1 << CRC_BITS) - 1) ^ (CRC_POLYNOMIAL if out else 0)
    if crc != bits & ((1 << CRC_BITS) - 1):
        raise Wrong("its checksum does not fit: a character is wrong, or two have changed places")
    fields = {}
    for name, count in FIELDS:
        left -= count
        fields[name] = payload >> left & ((1 << count) - 1)
    if fields["format"] != 0:
        raise Wrong("it is of a later version of Bulkhead")
    return fields


class Elf:
    """The symbols of a 64-bit ELF file."""

    def __init__(self, path):
        with open(path, "rb") as elf:
            self.data = elf.read()
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise OSError("%s is no 64-bit ELF file" % path)
        offset, = struct.unpack_from("<Q", self.data, 0x28)
        size, count = struct.unpack_from("<HH", self.data, 0x3A)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, offset + i * size) for i in range(count)]
        self.symbols, self.all_symbols = {}, []  # names of static functions may stand for several
        for section in self.sections:
            if section[1] == 2:  # SHT_SYMTAB; its strings are in the section that it links to
                self.read_symbols(section, self.sections[section[6]][4])
        if "image_start" not in self.symbols:
            raise OSError("%s has no symbols of Bulkhead's core" % path)
        self.base = self.symbols["image_start"]
        code_end = self.symbols["init_text_end"]
        self.functions = sorted(s for s in self.all_symbols if self.base <= s[0] <= code_end)

    def read_symbols(self, section, strings):
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, _, value = struct.unpack_from("<IBBHQ", self.data, at)
            if info & 15 <= 2 and name:  # no type, object, function
                start = strings + name
                text = self.data[start:self.data.index(b"\0", start)].decode("latin1")
                self.symbols[text] = value
                self.all_symbols.append((value, text))

    def read(self, name, size):
        """The bytes of an object; none when there is no such one."""
        value = self.symbols.get(name)
        for _, kind, _, address, offset, length, *_ in self.sections:
            if value is not None and kind == 1 and address <= value < address + length:
                return self.data[offset + value - address:][:size]
        return b""

    def name(self, offset):
        """function+0x12 for an address, counted from the image's start."""
        address = self.base + offset
        found = [f for f in self.functions if f[0] <= address]
        if found == self.functions:
            return "image_start+0x%x" % offset
        return "%s+0x%x" % (found[-1][1], address - found[-1][0])


def describe(fields, elf):
    """Lines of text."""
    commit = "commit %08x" % fields["commit"] if fields["commit"] else "commit unknown"
    lines = ["build  " + commit + (", with changes that were not committed" if fields["modified"] else "") +
             (", CHECKS=1" if fields["checks"] else "")]
    if fields["vector"] == PANIC:
        lines.append("what   panic: the core found itself in a state that it should not be in")
    else:
        what = "%s in the core (vector %d)" % (EXCEPTIONS.get(fields["vector"], "exception"), fields["vector"])
        if fields["vector"] == PAGE_FAULT:
            what += ": %s %s" % ("write to" if fields["error"] & 2 else "read of",
                                 "a page that does not allow it" if fields["error"] & 1 else "an address where nothing is")
        lines.append("what   " + what)
    for key, word in (("at", "at"), ("by", "by"), ("by2", "by")):
        if fields[key] == NO_FRAME:
            lines += ["at     outside of the core's code"] if key == "at" else []
        else:
            lines.append("%s     %s" % (word, elf.name(fields[key]) if elf else "image_start+0x%x" % fields[key]))
    return lines


def warnings(fields, elf, path):
    """What casts doubt on the names."""
    mine = (int.from_bytes(elf.read("bulkhead_commit", 4), "little"),
            int.from_bytes(elf.read("bulkhead_is_modified", 1), "little"))
    if mine != (fields["commit"], fields["modified"]):
        yield "%s is another build (commit %08x%s): the names may be wrong" % (path, mine[0], ", changed" if mine[1] else "")
    elif fields["modified"]:
        yield "the names are right only if %s is the very build that crashed" % path


def main(args):
    if len(args) not in (1, 2) or args[0].startswith("--"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        fields = decode(args[0])
    except Wrong as wrong:
        print("%s is not a crash code: %s" % (args[0], wrong), file=sys.stderr)
        return 1
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    usual = os.path.join(root, "build", "checks" if fields["checks"] else "", "bulkhead.elf")
    path = args[1] if len(args) == 2 else usual
    elf = None
    if len(args) == 2 or os.path.exists(path):
        try:
            elf = Elf(path)
        except OSError as error:
            print(error, file=sys.stderr)
            return 2
        except (struct.error, LookupError, ValueError, OverflowError):
            print("%s is damaged" % path, file=sys.stderr)
            return 2
    print("\n".join(describe(fields, elf)))
    for warning in warnings(fields, elf, path) if elf else ["%s is not there: no names" % path]:
        print("note: " + warning, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
