/* An OCSP response, as whoever answers for the authority sends it: none is good but those that are signed. */
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test/unit/status_answers.h"
#include "tlsproxy/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static time_t
then(time_t *t)
{
	if (t != NULL)
		*t = FROM + 60;
	return FROM + 60;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chain chain;
	struct status_facts facts;
	struct text why = TEXT_UP_TO(400);

	(void)response;
	(void)endless;
	if (chain.count == 0) {
		int fd = memfd_create("chain", MFD_CLOEXEC);

		gnutls_global_set_time_function(then);
		if (fd < 0 || write(fd, pem, sizeof pem - 1) < 0 || chain_read(fd, &chain, &why) < 0)
			abort();
		close(fd);
	}
	if (status_judge(span_of(data, size), &chain, FROM, &facts, &why) == 0) {
		/* Nobody signs anything new here. */
		if (facts.word != STATUS_GOOD || facts.from != FROM)
			abort();
	} else if (why.len == 0) {
		abort();
	}
	text_clear(&why);
	return 0;
}
