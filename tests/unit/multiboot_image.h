#ifndef BULKHEAD_TESTS_UNIT_MULTIBOOT_IMAGE_H
#define BULKHEAD_TESTS_UNIT_MULTIBOOT_IMAGE_H

/* A small physical memory for the tests of multiboot_parse, and what they ask of its result. The
 * image is a heap block of its exact size, so that ASan sees any read beyond the view. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/multiboot.h"
#include "lib/error.h"
#include "tests/unit/host_log.h"

#define IMAGE_SIZE 0x10000u

static uint8_t *image;
static struct phys_view view;
static struct boot_info info;

static inline void put32(uint64_t at, uint32_t value)
{
    assert_true(at + 4 <= IMAGE_SIZE);
    memcpy(image + at, &value, 4);
}

static inline void put64(uint64_t at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static inline void put_text(uint64_t at, const char *text)
{
    assert_true(at + strlen(text) < IMAGE_SIZE);
    memcpy(image + at, text, strlen(text) + 1);
}

static inline int setup(void **state)
{
    (void)state;
    image = malloc(IMAGE_SIZE);
    memset(image, 0, IMAGE_SIZE);
    view = (struct phys_view){image, IMAGE_SIZE};
    host_log_clear();
    memset(&info, 0xa5, sizeof(info));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    free(image);
    return 0;
}

static inline void expect_log(const char *part)
{
    if (!strstr(host_log_text, part))
        fail_msg("found \"%s\", expected \"%s\"", host_log_text, part);
}

static inline void expect_module(unsigned int i, const char *name, uint64_t base, uint64_t size)
{
    assert_true(i < info.module_count);
    assert_string_equal(info.modules[i].name, name);
    assert_int_equal(info.modules[i].base, base);
    assert_int_equal(info.modules[i].size, size);
}

static inline void expect_range(unsigned int i, uint64_t base, uint64_t size, uint32_t type)
{
    assert_true(i < info.map.count);
    assert_true(info.map.r[i].base == base);
    assert_true(info.map.r[i].size == size);
    assert_int_equal(info.map.r[i].type, type);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
