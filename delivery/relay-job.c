/* relay-job - see relay.h. */
#include "relay.h"

#include "common/secret.h"
#include "common/server-address.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPLICIT_TLS_PORT 465
#define MOST_TRIED 6                 /* servers of one job */

void
job_note_fault(struct job *j, struct verdict why)
{
	struct text reason = TEXT_UP_TO(sizeof(j->fault_text) - 1);
	struct text status = TEXT_UP_TO(sizeof(j->fault_status) - 1);

	if (why.reason.at == (const unsigned char *)j->fault_text)
		return;
	text_add(&reason, span_part(why.reason, 0, reason.most));
	text_add(&status, why.status);
	span_copy(text_span(&reason), j->fault_text, sizeof(j->fault_text));
	span_copy(text_span(&status), j->fault_status, sizeof(j->fault_status));
	j->fault = (struct verdict){ why.outcome, why.code, span_str(j->fault_status),
		span_str(j->fault_text) };
	text_clear(&reason);
	text_clear(&status);
}

void
job_tell(struct job *j, struct job_recipient *r, struct verdict v, const char *server, bool relayed)
{
	if (r->state == OVER)
		return;
	r->state = OVER;
	j->left--;
	if (j->queue != NULL)
		send_relay_result(j->queue, j->id,
			&(struct msg_relay_result){ .number = r->number, VERDICT_FIELDS(v),
				.relay = span_str(server), .relayed = relayed },
			NULL);
}

void
job_free(struct job *j)
{
	sts_cancel(j);
	route_cancel(j);
	connect_cancel(j);
	if (j->dialogue != NULL) {
		j->dialogue->job = NULL;
		dialogue_free(j->dialogue);
	}
	TAILQ_REMOVE(&j->relay->jobs, j, all);
	j->relay->job_count--;
	for (uint32_t i = 0; i < j->count; i++) {
		free(j->recipient[i].address);
		free(j->recipient[i].orcpt);
	}
	free(j->recipient);
	free(j->sender);
	free(j->next_hop);
	free(j->envid);
	free(j->sts_mx);
	if (j->credentials != NULL)
		secret_wipe(j->credentials, sizeof(*j->credentials));
	free(j->credentials);
	free(j->top);
	seven_bit_free(&j->seven);
	close(j->fd);
	free(j);
}

void
job_end(struct job *j)
{
	if (j->queue != NULL)
		send_relay_done(j->queue, j->id,
			&(struct msg_relay_done){ .health = (uint8_t)j->health,
				.reason = span_str(j->health == HEALTH_GOOD ? "" : j->fault_text) },
			NULL);
	j->relay->served++;
	job_free(j);
}

void
job_end_all(struct job *j, struct verdict v, const char *server)
{
	for (uint32_t i = 0; i < j->count; i++)
		job_tell(j, &j->recipient[i], v, server, false);
	job_end(j);
}

void
job_next_server(struct job *j, struct verdict why, enum health health)
{
	/* A server that is there, and cannot help, says more than one that is not. */
	if (j->current == 0 || health != HEALTH_DEAD || j->health == HEALTH_DEAD) {
		job_note_fault(j, why);
		j->health = health;
	}
	log_debug(j->session, "next-server", KEY_ID("message", j->message), KEY_SPAN("reason", why.reason));
	j->plain_again = false;
	if (++j->current < j->servers && j->current < MOST_TRIED)
		route_locate(j);
	else
		job_end_all(j, j->fault, j->fault_server);
}

void
job_routed(struct job *j)
{
	j->current = 0;
	route_locate(j);
}

void
job_located(struct job *j)
{
	connect_begin(j);
}

/* What connections must have in common to be used for one another's mail. */
static void
make_key(struct job *j)
{
	struct text key = TEXT_UP_TO(sizeof(j->key) - 1);

	text_printf(&key, "%u|%d%d|%d|%s|%s", j->way, j->require_tls, j->tls_optional, j->sts, j->next_hop,
		j->credentials != NULL ? j->credentials->login : "");
	span_copy(text_span(&key), j->key, sizeof(j->key));
	text_clear(&key);
}

/* What a configured server wants to know of us; then it must prove who it is. */
static void
find_credentials(struct job *j)
{
	const struct settings *s = j->relay->daemon.settings;
	struct credentials c;
	struct server_address a;

	if (j->way != WAY_HOST || !server_address_read(span_str(j->next_hop), (uint16_t)s->relay_port, &a))
		return;
	j->implicit_tls = a.port == IMPLICIT_TLS_PORT;
	tls_policy_find(s, a.host, &j->policy);
	if (!credentials_find(text_span(&j->relay->credentials), a.host, a.port, span_str(j->sender), &c))
		return;
	j->credentials = must_alloc(sizeof(c));
	*j->credentials = c;
	secret_wipe(&c, sizeof(c));
	if (!tls_policy_is_given(s, a.host))
		j->policy = (struct tls_policy){ .wanted = WANT_VERIFY };
}

void
job_policy_known(struct job *j)
{
	make_key(j);
	if (!dialogue_reuse(j))
		route_begin(j);
}

void
job_begin(struct job *j)
{
	/* Without its login a relayhost would refuse the mail for good. */
	j->waits = j->way == WAY_HOST && !j->relay->credentials_known;
	if (j->waits)
		return;
	j->health = HEALTH_GOOD;
	if (socket_is_wanted(j)) {
		/* What goes through it does not leave the machine: nobody is between. */
		j->policy = (struct tls_policy){ .wanted = WANT_NONE };
		j->require_tls = false;
		job_policy_known(j);
		return;
	}
	for (char *c = j->next_hop; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
	tls_policy_find(j->relay->daemon.settings, span_str(j->next_hop), &j->policy);
	find_credentials(j);
	/* RFC 8689 section 3: what the recipient's domain publishes (DANE, MTA-STS) does not count; what our own
	 * administrator says does. */
	if (j->tls_optional && j->policy.wanted == WANT_DANE)
		j->policy.wanted = WANT_MAY;
	if (j->credentials == NULL || !j->credentials->command || token_have(j))
		job_go_on(j);
}

void
job_go_on(struct job *j)
{
	if (sts_is_wanted(j))
		sts_begin(j);
	else
		job_policy_known(j);
}
