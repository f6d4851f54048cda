/*
 * conf-names - which option somebody meant who wrote a name that there is not.
 */
#include "master/conf-names.h"

#include <string.h>

#include "common/settings.h"
#include "common/text.h"

#define MOST_NAME    64 /* letters of a name that is compared; no option has more */
#define MOST_MISTAKES 2

/* clang-format off */
static const char *const ours[] = {
#define O(kind, name, initial, least, most, help) #name,
	SETTINGS(O)
#undef O
};

/* What those who come from Postfix and Dovecot type, where we have an option for the same matter. Its value may be
 * written in another way: valija.conf(5) tells. */
static const struct {
	const char *theirs, *ours;
} foreign[] = {
	/* Postfix */
	{ "myhostname", "hostname" },
	{ "mydestination", "domains" },
	{ "virtual_mailbox_domains", "domains" },
	{ "virtual_alias_domains", "alias_domains" },
	{ "inet_interfaces", "listen" },
	{ "alias_maps", "aliases" },
	{ "alias_database", "aliases" },
	{ "virtual_alias_maps", "aliases" },
	{ "relay_recipient_maps", "relay_recipients_listed" },
	{ "recipient_delimiter", "subaddress_separators" },
	{ "message_size_limit", "message_size_bytes" },
	{ "maximal_queue_lifetime", "queue_days" },
	{ "smtp_sasl_password_maps", "relay_credentials" },
	{ "smtp_tls_policy_maps", "tls_policy" },
	{ "smtpd_milters", "smtp_milters" },
	{ "non_smtpd_milters", "submission_milters" },
	{ "milter_default_action", "milter_down" },
	{ "smtpd_tls_cert_file", "tls_certificate" },
	{ "smtpd_tls_chain_files", "tls_certificate" },
	{ "smtpd_tls_key_file", "tls_key" },
	{ "smtpd_tls_CAfile", "tls_client_ca" },
	{ "smtp_tls_CAfile", "tls_trust" },
	{ "tls_high_cipherlist", "tls_priorities" },
	{ "smtpd_recipient_limit", "recipients" },
	{ "hopcount_limit", "received_fields" },
	{ "proxy_interfaces", "public_address" },
	{ "myorigin", "local_domain" },
	{ "smtp_bind_address", "relay_source_ipv4" },
	{ "smtp_bind_address6", "relay_source_ipv6" },
	{ "smtpd_authorized_xclient_hosts", "xclient_from" },
	{ "smtpd_authorized_xforward_hosts", "xforward_from" },
	/* Dovecot */
	{ "protocols", "services" },
	{ "ssl_cert", "tls_certificate" },
	{ "ssl_server_cert_file", "tls_certificate" },
	{ "ssl_key", "tls_key" },
	{ "ssl_server_key_file", "tls_key" },
	{ "ssl_cipher_list", "tls_priorities" },
	{ "ssl_client_ca_file", "tls_client_ca" },
	{ "auth_mechanisms", "imap_mechanisms" },
	{ "mail_max_userip_connections", "imap_sessions" },
	{ "haproxy_trusted_networks", "proxy_from" },
	{ "log_path", "log" },
	{ "postmaster_address", "postmaster" },
};
/* clang-format on */

static unsigned int
least_of(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Letters to change, add, leave out, or exchange with their neighbour. Both names have MOST_NAME letters at most. */
static unsigned int
mistakes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int rows[3][MOST_NAME + 1], *before = rows[0], *last = rows[1], *now = rows[2], *free_row;

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least_of(least_of(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least_of(now[j], before[j - 2] + 1);
		}
		free_row = before;
		before = last;
		last = now;
		now = free_row;
	}
	return last[b_len];
}

const char *
conf_meant(const char *name)
{
	unsigned int fewest = MOST_MISTAKES + 1, found;
	size_t len = strlen(name);
	const char *meant = NULL;

	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		if (strcmp(foreign[i].theirs, name) == 0)
			return foreign[i].ours;
	for (size_t i = 0; len <= MOST_NAME && i < sizeof ours / sizeof ours[0]; i++) {
		size_t other = strlen(ours[i]);

		if (other > MOST_NAME)
			continue;
		found = mistakes(name, len, ours[i], other);
		if (found < fewest && 3 * found <= len) {
			fewest = found;
			meant = ours[i];
		}
	}
	return meant;
}
