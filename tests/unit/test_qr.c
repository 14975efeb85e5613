/* QR codes. What they should look like was read back by zbar (0.23.92) and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/error.h"
#include "lib/qr.h"

#define LONGEST "BULKHEAD 8P6Y-50T7-41PB-1GD0-0000-25X9"
static_assert(sizeof(LONGEST) - 1 == QR_TEXT, "no room is left");

static const char *const longest[QR_SIZE] = {
    "#######...####.##.#######", "#.....#.##.#####..#.....#", "#.###.#..#.#....#.#.###.#",
    "#.###.#..###.###..#.###.#", "#.###.#.#....##...#.###.#", "#.....#..#####....#.....#",
    "#######.#.#.#.#.#.#######", ".........#...###.........", "#.#.#.#..##.###.....#..#.",
    "#.......#.###.##.#.#####.", "#...#.##...##..#.#..#....", "##.#.#.###.#...#.#.##.#.#",
    "###..##..##.#....###..###", "..###..#.#.#.###..#..#...", "#..#.##....#....#.###..#.",
    ".###...###.###...#..#.##.", "#.##.####.#...#.#####.#.#", "........#...##..#...#.###",
    "#######..#....###.#.#...#", "#.....#...#.##..#...#...#", "#.###.#.##.#..#.######..#",
    "#.###.#......#.##.##..#..", "#.###.#.########.##.....#", "#.....#..#.#...#.#.#...##",
    "#######.###...#.#..#.##.#"};

/* An odd number of characters, and padding. */
static const char *const one[QR_SIZE] = {
    "#######..#...#..#.#######", "#.....#.#.##..###.#.....#", "#.###.#..######.#.#.###.#",
    "#.###.#..#.#####..#.###.#", "#.###.#.###.#.#...#.###.#", "#.....#...#..#....#.....#",
    "#######.#.#.#.#.#.#######", ".............##.#........", "#.#.#.#..####.##....#..#.",
    ".#####....#...##...#.#.#.", ".####.#.....##...#.#####.", ".#.##...#.#.#..#.###.#.##",
    "#.#..###....#...##..####.", ".##.##..#..###.###..#.##.", "#..####..#.##.###.#.....#",
    ".#..#..#.#..###.#...#.##.", "#.#...#.####..#######.###", "........####..#.#...##...",
    "#######......#..#.#.###..", "#.....#..#.#...##...##.#.", "#.###.#.#.#.#...#######.#",
    "#.###.#....###...#....##.", "#.###.#.#.###.#.###.#...#", "#.....#...#.####..#...###",
    "#######.####..##....#.#.#"};

static void expect_code(const char *text, const char *const rows[QR_SIZE])
{
    uint32_t code[QR_SIZE];

    memset(code, 0x5a, sizeof(code));
    assert_int_equal(qr_encode(text, code), 0);
    for (unsigned int y = 0; y < QR_SIZE; y++) {
        char line[QR_SIZE + 1] = {0};
        for (unsigned int x = 0; x < QR_SIZE; x++)
            line[x] = code[y] >> x & 1 ? '#' : '.';
        assert_string_equal(line, rows[y]);
        assert_int_equal(code[y] >> QR_SIZE, 0);
    }
}

static void test_codes(void **state)
{
    (void)state;
    expect_code(LONGEST, longest);
    expect_code("A", one);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"a", "\n", "A_", "\xff", LONGEST "0"};
    uint32_t code[QR_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(qr_encode(bad[i], code), -BH_EINVAL);
    assert_int_equal(qr_encode("", code), 0);
    assert_int_equal(qr_encode("0123456789 $%*+-./:", code), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
