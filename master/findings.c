/*
 * findings - see findings.h.
 */
#include "master/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char *
say(const char *format, va_list ap)
{
	char text[MOST_FINDING_TEXT];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	/* Both callers have the attribute, and their formats were checked. */
	vsnprintf(text, sizeof text, format, ap);
#pragma GCC diagnostic pop
	return must_copy(span_str(text));
}

void
finding_add(struct findings *f, enum finding_verdict verdict, const char *check, const char *format,
	...)
{
	va_list ap;

	if (f->count == MOST_FINDINGS)
		return;
	va_start(ap, format);
	f->at[f->count++] = (struct finding){ verdict, check, say(format, ap), NULL };
	va_end(ap);
}

void
finding_advise(struct findings *f, const char *format, ...)
{
	struct finding *last;
	va_list ap;

	if (f->count == 0)
		return;
	last = &f->at[f->count - 1];
	free(last->advice);
	va_start(ap, format);
	last->advice = say(format, ap);
	va_end(ap);
}

enum finding_verdict
findings_worst(const struct findings *f)
{
	enum finding_verdict worst = FINDING_OK;

	for (size_t i = 0; i < f->count; i++)
		if (f->at[i].verdict > worst)
			worst = f->at[i].verdict;
	return worst;
}

const char *
finding_verdict_name(enum finding_verdict verdict)
{
	static const char *const names[] = { "ok", "warning", "problem" };

	return names[verdict];
}

void
findings_print(const struct findings *f)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct finding *one = &f->at[i];

		printf("%-8s %-12s %s\n", finding_verdict_name(one->verdict), one->check, one->says);
		if (one->advice)
			printf("%-8s %-12s -> %s\n", "", "", one->advice);
	}
}

void
findings_json(const struct findings *f, struct json *j)
{
	json_open(j, "findings", '[');
	for (size_t i = 0; i < f->count; i++) {
		json_open(j, NULL, '{');
		json_text(j, "verdict", span_str(finding_verdict_name(f->at[i].verdict)));
		json_text(j, "check", span_str(f->at[i].check));
		json_text(j, "says", span_str(f->at[i].says));
		if (f->at[i].advice)
			json_text(j, "advice", span_str(f->at[i].advice));
		else
			json_null(j, "advice");
		json_close(j, '}');
	}
	json_close(j, ']');
}

void
findings_clear(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->at[i].says);
		free(f->at[i].advice);
	}
	f->count = 0;
}
