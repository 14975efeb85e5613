# Turns `nm -n` into the table that lib/symbols.c reads: sorted 32-bit offsets from the start of the
# upper-half image, and the names, each ended by a zero byte.
function hex(s,    i, v) {
    v = 0
    for (i = 1; i <= length(s); i++)
        v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
    return v
}
BEGIN { n = 0; text = 0 }
$2 ~ /^[tT]$/ && substr($1, 1, 9) == "ffffffff8" {
    offset[n] = hex(substr($1, 9)) - hex("80000000")
    name[n] = $3
    n++
}
END {
    print "section .symbols progbits alloc noexec nowrite align=8"
    print "global symbol_count, symbol_offsets, symbol_names"
    print "symbol_count: dd " n
    print "symbol_offsets:"
    at = 0
    for (i = 0; i < n; i++) {
        print "dd " offset[i] ", " at
        at += length(name[i]) + 1
    }
    print "symbol_names:"
    for (i = 0; i < n; i++) print "db '" name[i] "', 0"
}
