# font.txt -> rows of glyph bytes for an array [95][16] of C; the leftmost pixel is the highest bit.
/^[.#]/ {
    band = int(row / 12)
    for (i = 1; i <= NF; i++) {
        value = 0
        for (x = 1; x <= 8; x++)
            value = 2 * value + (substr($i, x, 1) == "#")
        glyph[band * 8 + i - 1, row % 12] = value
    }
    row++
}
END {
    if (row != 12 * 12) {
        print "font.awk: found " row " lines of pixels, expected 144" > "/dev/stderr"
        exit 1
    }
    print "/* Generated from tools/build/font.txt. */"
    for (i = 0; i < 95; i++) {
        line = "{0, 0"
        for (y = 0; y < 12; y++)
            line = line sprintf(", 0x%02x", glyph[i, y])
        print line ", 0, 0},"
    }
}
