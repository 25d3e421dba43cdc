/* SPDX-License-Identifier: Apache-2.0 */

#include "base/parse.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define K (UINT64_C(1) << 10)
#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)
#define T (UINT64_C(1) << 40)
#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

struct row {
	const char *text;
	int r;
	uint64_t value;
};

typedef int parser(const char *text, uint64_t *ret);

static void check_rows(parser *parse, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = UNTOUCHED;
		int r = parse(rows[i].text, &value);

		ck_assert_msg(r == rows[i].r, "\"%s\": %d, not %d", rows[i].text, r, rows[i].r);
		if (r < 0)
			ck_assert_uint_eq(value, UNTOUCHED);
		else
			ck_assert_msg(value == rows[i].value, "\"%s\": %llu, not %llu",
				      rows[i].text, (unsigned long long)value,
				      (unsigned long long)rows[i].value);
	}
}

static int parse_up_to_1000(const char *text, uint64_t *ret)
{
	return parse_u64(text, 1000, ret);
}

static int parse_any_u64(const char *text, uint64_t *ret)
{
	return parse_u64(text, UINT64_MAX, ret);
}

START_TEST(a_number_is_digits_and_nothing_else)
{
	static const struct row rows[] = {
		{ "0", 0, 0 },          { "7", 0, 7 },
		{ "1000", 0, 1000 },    { "0010", 0, 10 },
		{ "1001", -ERANGE, 0 }, { "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },   { "1 ", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },   { "+1", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 }, { "1.0", -EINVAL, 0 },
		{ "1\n", -EINVAL, 0 },  { "99999999999999999999", -ERANGE, 0 },
	};
	static const struct row large[] = {
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "184467440737095516150", -ERANGE, 0 },
	};

	check_rows(parse_up_to_1000, rows, ARRAY_LEN(rows));
	check_rows(parse_any_u64, large, ARRAY_LEN(large));
}
END_TEST

START_TEST(sizes_have_binary_suffixes_only)
{
	static const struct row rows[] = {
		{ "4096", 0, 4096 },
		{ "64K", 0, 64 * K },
		{ "64KiB", 0, 64 * K },
		{ "64kib", 0, 64 * K },
		{ "1.5G", 0, 3 * G / 2 },
		{ "0.5k", 0, 512 },
		{ "2t", 0, 2 * T },
		{ "2TiB", 0, 2 * T },
		{ "0", 0, 0 },
		{ "0.1K", 0, 102 }, /* 102.4 */
		{ "1.999999999M", 0, 2 * M - 1 },
		{ "16777215T", 0, 16777215 * T },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551614", 0, UINT64_MAX - 1 },
		{ "18446744073709551615", -ERANGE, 0 }, /* would read as unlimited */
		{ "18014398509481984K", -ERANGE, 0 },
		{ "2MB", -EINVAL, 0 },
		{ "2B", -EINVAL, 0 },
		{ "2Mi", -EINVAL, 0 },
		{ "2M ", -EINVAL, 0 },
		{ "2 M", -EINVAL, 0 },
		{ "2MM", -EINVAL, 0 },
		{ "2MiBx", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1.", -EINVAL, 0 },
		{ "1.K", -EINVAL, 0 },
		{ ".5K", -EINVAL, 0 },
		{ "1.0000000001K", -EINVAL, 0 },
		{ "M", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1M", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "max", -EINVAL, 0 },
	};

	check_rows(parse_bytes, rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(max_and_its_synonyms_are_unlimited)
{
	static const struct row rows[] = {
		{ "max", 0, BYTES_UNLIMITED },
		{ "unlimited", 0, BYTES_UNLIMITED },
		{ "infinity", 0, BYTES_UNLIMITED },
		{ "1M", 0, M },
		{ "Max", -EINVAL, 0 },
		{ "maxx", -EINVAL, 0 },
	};

	check_rows(parse_bytes_or_max, rows, ARRAY_LEN(rows));
}
END_TEST

static int permille(const char *text, uint64_t *ret)
{
	uint32_t value;
	int r = parse_permille(text, &value);

	if (r == 0)
		*ret = value;
	return r;
}

START_TEST(percentages_become_permille)
{
	static const struct row rows[] = {
		{ "37%", 0, 370 },
		{ "12.5%", 0, 125 },
		{ "0%", 0, 0 },
		{ "100%", 0, 1000 },
		{ "100.0%", 0, 1000 },
		{ "100.1%", -ERANGE, 0 },
		{ "1000%", -ERANGE, 0 },
		{ "12.55%", -EINVAL, 0 },
		{ "12", -EINVAL, 0 },
		{ "%", -EINVAL, 0 },
		{ "12%%", -EINVAL, 0 },
		{ "-1%", -EINVAL, 0 },
		{ "18446744073709551615%", -ERANGE, 0 },
	};

	check_rows(permille, rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(durations_become_nanoseconds)
{
	static const struct row rows[] = {
		{ "250ms", 0, 250000000 },
		{ "1.5s", 0, 1500000000 },
		{ "2min", 0, 120000000000 },
		{ "1h", 0, 3600000000000 },
		{ "3", 0, 3000000000 },
		{ "0.5", 0, 500000000 },
		{ "20us", 0, 20000 },
		{ "0", 0, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "18446744073709551615", -ERANGE, 0 },
		{ "5124095h", 0, UINT64_C(5124095) * 3600000000000 },
		{ "5124096h", -ERANGE, 0 },
	};

	check_rows(parse_duration_ns, rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(truth_has_eight_spellings)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };
	static const char *const neither[] = { "", "Yes", "y", "2", "on " };
	bool value;

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		value = false;
		ck_assert_int_eq(parse_bool(yes[i], &value), 0);
		ck_assert(value);
	}
	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		value = true;
		ck_assert_int_eq(parse_bool(no[i], &value), 0);
		ck_assert(!value);
	}
	for (size_t i = 0; i < ARRAY_LEN(neither); i++)
		ck_assert_int_eq(parse_bool(neither[i], &value), -EINVAL);
}
END_TEST

START_TEST(sizes_are_shown_with_at_most_one_decimal)
{
	static const struct {
		uint64_t bytes;
		const char *text, *exact;
	} rows[] = {
		{ 0, "0", "0" },
		{ 1, "1", "1" },
		{ 512, "512", "512" },
		{ 1023, "1023", "1023" },
		{ 1024, "1K", "1K" },
		{ 64 * K, "64K", "64K" },
		{ 3 * G / 2, "1.5G", "1536M" },
		{ 1000 * M, "1000M", "1000M" },
		{ 1023 * M + 1000 * K, "1G", "1048552K" },
		{ G + 1, "1G", "1073741825" },
		{ UINT64_MAX - 1, "16777216T", "18446744073709551614" },
		{ BYTES_UNLIMITED, "max", "max" },
	};
	char buf[FORMAT_BYTES_MAX];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_str_eq(format_bytes(rows[i].bytes, buf), rows[i].text);
		ck_assert_str_eq(format_bytes_exact(rows[i].bytes, buf), rows[i].exact);
	}
}
END_TEST

START_TEST(exact_sizes_read_back_to_the_same_byte)
{
	char buf[FORMAT_BYTES_MAX];

	srandom(1);
	for (int i = 0; i < 100000; i++) {
		uint64_t back, bytes = ((uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^
					(uint64_t)random()) >>
				       (random() % 64) << (random() % 40);

		ck_assert_int_eq(parse_bytes_or_max(format_bytes_exact(bytes, buf), &back), 0);
		ck_assert_uint_eq(back, bytes);
		ck_assert_uint_lt(strlen(format_bytes(bytes, buf)), FORMAT_BYTES_MAX);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("parse");
	TCase *tc = tcase_create("parse");

	tcase_add_test(tc, a_number_is_digits_and_nothing_else);
	tcase_add_test(tc, sizes_have_binary_suffixes_only);
	tcase_add_test(tc, max_and_its_synonyms_are_unlimited);
	tcase_add_test(tc, percentages_become_permille);
	tcase_add_test(tc, durations_become_nanoseconds);
	tcase_add_test(tc, truth_has_eight_spellings);
	tcase_add_test(tc, sizes_are_shown_with_at_most_one_decimal);
	tcase_add_test(tc, exact_sizes_read_back_to_the_same_byte);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
