/*
 * json - writes JSON.
 */
#include "master/json.h"

static void
write_text(FILE *to, struct span s)
{
	bool utf8 = span_is_utf8(s);

	fputc('"', to);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(to, "\\u%04x", c);
		else if (c >= 0x80 && !utf8)
			fputs("\\ufffd", to);
		else
			fputc(c, to);
	}
	fputc('"', to);
}

static void
begin(struct json *j, const char *name)
{
	if (j->comma)
		fputs(", ", j->to);
	j->comma = true;
	if (name) {
		write_text(j->to, span_str(name));
		fputs(": ", j->to);
	}
}

void
json_open(struct json *j, const char *name, char bracket)
{
	begin(j, name);
	fputc(bracket, j->to);
	j->comma = false;
}

void
json_close(struct json *j, char bracket)
{
	fputc(bracket, j->to);
	j->comma = true;
}

void
json_text(struct json *j, const char *name, struct span value)
{
	begin(j, name);
	write_text(j->to, value);
}

void
json_number(struct json *j, const char *name, int64_t value)
{
	begin(j, name);
	fprintf(j->to, "%lld", (long long)value);
}

void
json_flag(struct json *j, const char *name, bool value)
{
	begin(j, name);
	fputs(value ? "true" : "false", j->to);
}

void
json_null(struct json *j, const char *name)
{
	begin(j, name);
	fputs("null", j->to);
}
