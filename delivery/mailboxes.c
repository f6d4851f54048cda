/* mailboxes - see mailboxes.h. Sorted: 10,000 recipients shall not cost 100,000,000 comparisons. */
#include "mailboxes.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

struct sorted {
	const char *home, *folder;
	uint32_t index;
};

static int
compare_places(const struct sorted *x, const struct sorted *y)
{
	int order = strcmp(x->home, y->home);

	return order != 0 ? order : strcmp(x->folder, y->folder);
}

static int
compare(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	int order = compare_places(x, y);

	return order != 0 ? order : x->index < y->index ? -1 : 1;
}

uint32_t *
mailboxes_of(struct destination *d, uint32_t count, uint32_t *mailboxes)
{
	struct sorted *sorted = must_alloc((count + 1) * sizeof(*sorted));
	uint32_t *found = must_alloc((count + 1) * sizeof(*found));
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		if (d[i].home != NULL)
			sorted[n++] = (struct sorted){d[i].home,
				d[i].folder == NULL ? "" : d[i].folder, i};
	qsort(sorted, n, sizeof(*sorted), compare);
	*mailboxes = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t self = sorted[i].index;

		if (i > 0 && compare_places(&sorted[i], &sorted[i - 1]) == 0) {
			d[self].first = d[sorted[i - 1].index].first;
		} else {
			d[self].first = self;
			found[(*mailboxes)++] = self;
		}
	}
	free(sorted);
	return found;
}
