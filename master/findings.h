/*
 * findings - what a doctor found: a verdict, a sentence, and what to do about it.
 */
#ifndef VALIJA_FINDINGS_H
#define VALIJA_FINDINGS_H

#include "common/text.h"
#include "master/json.h"

#define MOST_FINDINGS	 2000
#define MOST_FINDING_TEXT 4096

enum finding_verdict { FINDING_OK, FINDING_WARNING, FINDING_PROBLEM };

struct finding {
	enum finding_verdict verdict;
	const char *check; /* a word: what was looked at; static memory */
	char *says;
	char *advice; /* or NULL */
};

struct findings {
	struct finding at[MOST_FINDINGS];
	size_t count;
};

/* Adds one; `check` must live as long as the findings. More than MOST_FINDINGS are dropped. */
void finding_add(struct findings *f, enum finding_verdict verdict, const char *check,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* What to do about the latest one. */
void finding_advise(struct findings *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
enum finding_verdict findings_worst(const struct findings *f);
/* A line each, advice below it. */
void findings_print(const struct findings *f);
/* The member "findings" of an object. */
void findings_json(const struct findings *f, struct json *j);
void findings_clear(struct findings *f);
const char *finding_verdict_name(enum finding_verdict verdict);

#endif
