/* relayhost - see relayhost.h. */
#include "relayhost.h"

#include "common/server-address.h"

#define SUBMISSION_PORT 587

static struct span
take_word(struct span *in)
{
	struct span word;
	size_t len = 0;

	*in = span_trim(*in);
	while (len < in->len && in->at[len] != ' ' && in->at[len] != '\t')
		len++;
	word = span_part(*in, 0, len);
	*in = span_trim(span_part(*in, len, in->len));
	return word;
}

/* "ana@example.org", or "@example.org" for all of it. */
static bool
is_sender(struct span rule, struct span sender)
{
	size_t at = span_rindex(sender, '@');

	if (rule.len > 0 && rule.at[0] == '@')
		return at < sender.len && span_equal_nocase(rule, span_part(sender, at, sender.len));
	return span_equal_nocase(rule, sender);
}

bool
sender_relayhost_read(struct span rule, struct span *sender, struct span *host)
{
	struct server_address a;

	*sender = take_word(&rule);
	*host = take_word(&rule);
	return rule.len == 0 && span_has(*sender, '@') && server_address_read(*host, SUBMISSION_PORT, &a);
}

struct span
relayhost_of(const struct settings *s, struct span sender)
{
	struct span rule, host, found = s->relayhost;

	for (size_t i = 0; i < s->sender_relayhosts.count; i++)
		if (sender_relayhost_read(s->sender_relayhosts.at[i], &rule, &host) &&
			is_sender(rule, sender)) {
			found = host;
			if (rule.at[0] != '@')
				break;
		}
	return found;
}

bool
credentials_find(struct span file, struct span host, uint16_t port, struct span sender,
	struct credentials *to)
{
	while (file.len > 0) {
		struct span line = file, server, login;
		struct server_address a;

		if (!span_take_until(&file, '\n', &line))
			file = SPAN_NONE;
		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		server = take_word(&line);
		if (server.len == 0 || server.at[0] == '#' || !server_address_read(server, port, &a) ||
			!span_equal_nocase(a.host, host) || a.port != port)
			continue;
		login = take_word(&line);
		if (span_take_word(&login, SPAN("for="))) {
			if (!is_sender(login, sender))
				continue;
			login = take_word(&line);
		}
		to->command = span_equal(line, SPAN("oauth-command:"));
		to->token = to->command || span_take_word(&line, SPAN("oauth:"));
		if (to->command)
			line.len = 0;
		if (login.len > 0 && (line.len > 0 || to->command) && span_copy(login, to->login, sizeof(to->login)) &&
			span_copy(line, to->secret, sizeof(to->secret)))
			return true;
	}
	return false;
}
