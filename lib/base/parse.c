/* SPDX-License-Identifier: Apache-2.0 */

/*
 * strtoull() skips spaces, takes signs and leading zeros as octal and stops where it likes, so
 * digits are read here one by one. A fraction is kept as an exact quotient of two integers and
 * multiplied by the unit in 128 bits: "1.1G" gives the same byte on every machine, which a
 * double would not promise.
 */

#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FRACTION_DIGITS_MAX 9 /* 10^9 * 2^64 fits 128 bits with room */

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

typedef unsigned __int128 u128;

struct decimal {
	uint64_t whole;
	uint64_t part;  /* part / scale is the fraction */
	uint64_t scale; /* 10^digits; 1 without a fraction */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits, optionally a point and digits; *text moves behind them. */
static int decimal_scan(const char **text, struct decimal *ret)
{
	struct decimal d = { .scale = 1 };
	const char *p = *text;
	unsigned digits = 0;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
		    __builtin_add_overflow(d.whole, (uint64_t)(*p - '0'), &d.whole))
			return -ERANGE;
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p); p++) {
			if (++digits > FRACTION_DIGITS_MAX)
				return -EINVAL;
			d.part = d.part * 10 + (uint64_t)(*p - '0');
			d.scale *= 10;
		}
	}
	*text = p;
	*ret = d;
	return 0;
}

/* d * unit, rounded down */
static int decimal_times(const struct decimal *d, uint64_t unit, uint64_t *ret)
{
	u128 value = (u128)d->whole * unit + (u128)d->part * unit / d->scale;

	if (value > UINT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)value;
	return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
	struct decimal d;
	int r = decimal_scan(&text, &d);

	if (r < 0)
		return r;
	if (*text || d.scale != 1)
		return -EINVAL;
	if (d.whole > max)
		return -ERANGE;
	*ret = d.whole;
	return 0;
}

static uint64_t size_unit(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return KIB;
	case 'm':
	case 'M':
		return MIB;
	case 'g':
	case 'G':
		return GIB;
	case 't':
	case 'T':
		return TIB;
	default:
		return 0;
	}
}

int parse_bytes(const char *text, uint64_t *ret)
{
	uint64_t unit = 1, bytes;
	struct decimal d;
	int r;

	r = decimal_scan(&text, &d);
	if (r < 0)
		return r;
	if (*text) {
		unit = size_unit(*text++);
		if (unit == 0 || (*text && strcasecmp(text, "ib") != 0))
			return -EINVAL;
	} else if (d.scale != 1) {
		return -EINVAL; /* half a byte */
	}
	r = decimal_times(&d, unit, &bytes);
	if (r < 0)
		return r;
	if (bytes == BYTES_UNLIMITED)
		return -ERANGE;
	*ret = bytes;
	return 0;
}

int parse_bytes_or_max(const char *text, uint64_t *ret)
{
	static const char *const words[] = { "max", "unlimited", "infinity" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret = BYTES_UNLIMITED;
			return 0;
		}
	return parse_bytes(text, ret);
}

int parse_permille(const char *text, uint32_t *ret)
{
	struct decimal d;
	uint64_t permille;
	int r;

	r = decimal_scan(&text, &d);
	if (r < 0)
		return r;
	if (strcmp(text, "%") != 0 || d.scale > 10)
		return -EINVAL;
	r = decimal_times(&d, 10, &permille);
	if (r < 0)
		return r;
	if (permille > 1000)
		return -ERANGE;
	*ret = (uint32_t)permille;
	return 0;
}

int parse_duration_ns(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "", UINT64_C(1000000000) },     { "us", UINT64_C(1000) },
		{ "ms", UINT64_C(1000000) },      { "s", UINT64_C(1000000000) },
		{ "min", UINT64_C(60000000000) }, { "h", UINT64_C(3600000000000) },
	};
	struct decimal d;
	int r;

	r = decimal_scan(&text, &d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(text, units[i].name) == 0)
			return decimal_times(&d, units[i].ns, ret);
	return -EINVAL;
}

int parse_bool(const char *text, bool *ret)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "yes", true }, { "true", true },   { "on", true },   { "1", true },
		{ "no", false }, { "false", false }, { "off", false }, { "0", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(text, words[i].word) == 0) {
			*ret = words[i].value;
			return 0;
		}
	return -EINVAL;
}

static const struct {
	uint64_t bytes;
	const char *suffix;
} format_units[] = {
	{ TIB, "T" }, { GIB, "G" }, { MIB, "M" }, { KIB, "K" }, { 1, "" },
};

const char *format_bytes(uint64_t bytes, char buf[static FORMAT_BYTES_MAX])
{
	size_t i = ARRAY_LEN(format_units);
	u128 tenths;

	if (bytes == BYTES_UNLIMITED)
		return strcpy(buf, "max");
	do { /* upwards until the rounded number is below 1024 */
		uint64_t unit = format_units[--i].bytes;

		tenths = ((u128)bytes * 10 + unit / 2) / unit;
	} while (i > 0 && tenths >= 10240);
	if (tenths % 10 == 0)
		(void)snprintf(buf, FORMAT_BYTES_MAX, "%" PRIu64 "%s", (uint64_t)(tenths / 10),
			       format_units[i].suffix);
	else
		(void)snprintf(buf, FORMAT_BYTES_MAX, "%" PRIu64 ".%u%s", (uint64_t)(tenths / 10),
			       (unsigned)(tenths % 10), format_units[i].suffix);
	return buf;
}

const char *format_bytes_exact(uint64_t bytes, char buf[static FORMAT_BYTES_MAX])
{
	size_t i = 0;

	if (bytes == BYTES_UNLIMITED)
		return strcpy(buf, "max");
	if (bytes == 0)
		return strcpy(buf, "0");
	while (bytes % format_units[i].bytes != 0)
		i++;
	(void)snprintf(buf, FORMAT_BYTES_MAX, "%" PRIu64 "%s", bytes / format_units[i].bytes,
		       format_units[i].suffix);
	return buf;
}
