/*
 * local - see local.h.
 */
#include "smtpd/local.h"

#include "smtpd/mailbox-list.h"
#include "smtpd/session.h"

struct span
local_qualify(const struct session *s, struct span arguments, struct text *room)
{
	struct span path = span_part(arguments, span_index(arguments, '<'), arguments.len);
	struct mailbox_found found;
	size_t end;

	if (s->service != SERVICE_LOCAL || !mailbox_list_next(&path, &found) ||
	    found.has_domain || found.spec.len == 0 || !found.is_one)
		return arguments;
	end = (size_t)(found.spec.at - arguments.at) + found.spec.len;
	text_add(room, span_part(arguments, 0, end));
	text_add_byte(room, '@');
	text_add(room, s->server->daemon.settings->local_domain);
	text_add(room, span_part(arguments, end, arguments.len));
	return room->failed ? arguments : text_span(room);
}
