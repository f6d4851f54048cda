/* What a filter says, as packets, and what becomes of the message: any octets. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/beneath.h"
#include "smtpd/milter-edit.h"
#include "smtpd/milter-packet.h"

#define MESSAGE "Received: x\r\nFrom: a\r\nTo: b\r\n\r\nbody\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Only CR LF ends a line, and the header is one. */
static void
check(const unsigned char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i] == '\n' && (i == 0 || at[i - 1] != '\r'))
			abort();
		if (at[i] == '\r' && (i + 1 == len || at[i + 1] != '\n'))
			abort();
		if (at[i] == '\0')
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size), name, value, status, macros, names;
	struct milter_edit e;
	struct milter_reply r;
	uint32_t index, actions, steps;
	unsigned int code;
	const char *why;
	bool broken = false, begins = true, lead = size % 2 == 0;
	unsigned char *now;
	int fd = memfd_create("message", MFD_CLOEXEC), more;

	if (write_all(fd, MESSAGE, strlen(MESSAGE)) < 0 ||
	    !milter_edit_init(&e, fd, strlen(MESSAGE), 13, 4096))
		abort();
	while (milter_packet_take(&in, &r, &broken)) {
		struct text words = TEXT_UP_TO(400);

		if (milter_code_parse(r.data, &code, &status, &words) && (code < 400 || code > 599))
			abort();
		text_clear(&words);
		if (milter_options_parse(r.data, &actions, &steps, &macros, &why))
			(void)milter_macros_find(macros, MACROS_MAIL, &names);
		(void)milter_envelope_parse(r.data, &name, &value);
		if (r.command == 'b') {
			if (!milter_edit_body(&e, r.data, begins))
				break;
			begins = false;
		} else if (milter_header_parse(r.data, r.command != 'h', &index, &name, &value)) {
			if (r.command == 'h')
				(void)milter_edit_add(&e, name, value, lead);
			else if (r.command == 'i')
				(void)milter_edit_insert(&e, index, name, value, lead);
			else
				(void)milter_edit_change(&e, index, name, value, lead);
		}
	}
	if (!e.new_body.failed) {
		while ((more = milter_edit_write(&e)) > 0)
			;
		if (more < 0)
			abort();
		now = malloc((size_t)e.size + 1);
		if (!now || read_at(fd, now, (size_t)e.size, 0) != (ssize_t)e.size)
			abort();
		check(now, (size_t)e.size);
		free(now);
	}
	milter_edit_clear(&e);
	close(fd);
	return 0;
}
