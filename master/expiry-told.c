/* expiry-told - see expiry-told.h. */
#include "master/expiry-told.h"

#include <string.h>

#define SECONDS_A_DAY 86400
#define RENEW_AHEAD_DAYS 2

enum expiry_stage
expiry_stage(int64_t not_after, int64_t now)
{
	static const struct {
		int64_t days;
		enum expiry_stage stage;
	} steps[] = { { 0, EXPIRY_OVER }, { 1, EXPIRY_1_DAY }, { 3, EXPIRY_3_DAYS },
		{ 7, EXPIRY_7_DAYS }, { 21, EXPIRY_21_DAYS } };

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (not_after < now + steps[i].days * SECONDS_A_DAY)
			return steps[i].stage;
	return EXPIRY_FAR;
}

bool
expiry_is_due(int64_t not_before, int64_t not_after, int64_t now)
{
	return not_after - now < (not_after - not_before) / 3 + RENEW_AHEAD_DAYS * SECONDS_A_DAY;
}

/* One line without its end. */
static bool
take_line(struct span line, struct expiry_told_row *row)
{
	uint64_t stage;
	struct span hex;

	if (!span_take_bytes(&line, 2 * FINGERPRINT_SIZE, &hex) || !span_take(&line, ' ') ||
		!span_take_number(&line, EXPIRY_STAGE_COUNT - 1, &stage))
		return false;
	row->revoked = span_equal(line, SPAN(" revoked"));
	if (line.len != 0 && !row->revoked)
		return false;
	for (size_t i = 0; i < FINGERPRINT_SIZE; i++) {
		int high = span_hex_value(hex.at[2 * i]), low = span_hex_value(hex.at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		row->fingerprint[i] = (unsigned char)(high << 4 | low);
	}
	row->stage = (enum expiry_stage)stage;
	return true;
}

void
expiry_told_read(struct expiry_told *t, struct span file)
{
	struct span line;

	t->count = 0;
	while (t->count < MOST_EXPIRY_ROWS && span_take_until(&file, '\n', &line))
		if (take_line(line, &t->row[t->count]))
			t->count++;
}

void
expiry_told_write(const struct expiry_told *t, struct text *file)
{
	for (size_t i = 0; i < t->count; i++) {
		text_add_hex(file, span_of(t->row[i].fingerprint, FINGERPRINT_SIZE));
		text_printf(file, " %d%s\n", (int)t->row[i].stage, t->row[i].revoked ? " revoked" : "");
	}
}

struct expiry_told_row *
expiry_told_find(struct expiry_told *t, const unsigned char *fingerprint)
{
	for (size_t i = 0; i < t->count; i++)
		if (memcmp(t->row[i].fingerprint, fingerprint, FINGERPRINT_SIZE) == 0)
			return &t->row[i];
	return NULL;
}

struct expiry_told_row *
expiry_told_add(struct expiry_told *t, const unsigned char *fingerprint)
{
	struct expiry_told_row *row;

	if (t->count == MOST_EXPIRY_ROWS) {
		memmove(&t->row[0], &t->row[1], (MOST_EXPIRY_ROWS - 1) * sizeof t->row[0]);
		t->count--;
	}
	row = &t->row[t->count++];
	memcpy(row->fingerprint, fingerprint, FINGERPRINT_SIZE);
	row->stage = EXPIRY_FAR;
	row->revoked = false;
	return row;
}
