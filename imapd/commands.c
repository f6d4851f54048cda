/* commands - every verb of a logged-in session, in one table. Adding one is adding a row and a
 * function (command.h). */
#include "imapd/command.h"

static const struct verb verbs[] = {
	/* word           does              allowed                               its own literal */
	{ "CAPABILITY",   cmd_capability,   ALWAYS,                               NULL },
	{ "NOOP",         cmd_noop,         ALWAYS,                               NULL },
	{ "LOGOUT",       cmd_logout,       ALWAYS | ENDS_SESSION,                NULL },
	{ "ID",           cmd_id,           ALWAYS,                               NULL },
	{ "ENABLE",       cmd_enable,       ALWAYS,                               NULL },
	{ "NAMESPACE",    cmd_namespace,    ALWAYS,                               NULL },
	{ "IDLE",         cmd_idle,         ALWAYS,                               NULL },
	{ "SELECT",       cmd_select,       ALWAYS,                               NULL },
	{ "EXAMINE",      cmd_examine,      ALWAYS,                               NULL },
	{ "CREATE",       cmd_create,       ALWAYS,                               NULL },
	{ "DELETE",       cmd_delete,       ALWAYS,                               NULL },
	{ "RENAME",       cmd_rename,       ALWAYS,                               NULL },
	{ "SUBSCRIBE",    cmd_subscribe,    ALWAYS,                               NULL },
	{ "UNSUBSCRIBE",  cmd_unsubscribe,  ALWAYS,                               NULL },
	{ "LIST",         cmd_list,         ALWAYS,                               NULL },
	{ "LSUB",         cmd_lsub,         ALWAYS,                               NULL },
	{ "STATUS",       cmd_status,       ALWAYS,                               NULL },
	{ "APPEND",       cmd_append,       ALWAYS,
	cmd_append_literal },
	{ "GETMETADATA",  cmd_getmetadata,  ALWAYS,                               NULL },
	{ "SETMETADATA",  cmd_setmetadata,  ALWAYS,                               NULL },
	{ "GETQUOTA",     cmd_getquota,     ALWAYS,                               NULL },
	{ "GETQUOTAROOT", cmd_getquotaroot, ALWAYS,                               NULL },
	{ "SETQUOTA",     cmd_setquota,     ALWAYS,                               NULL },
	{ "COMPRESS",     cmd_compress,     ALWAYS,                               NULL },
	{ "CHECK",        cmd_check,        WHEN_SELECTED,                        NULL },
	{ "CLOSE",        cmd_close,        WHEN_SELECTED,                        NULL },
	{ "UNSELECT",     cmd_unselect,     WHEN_SELECTED,                        NULL },
	{ "EXPUNGE",      cmd_expunge,      WHEN_SELECTED | EXPUNGES,             NULL },
	{ "SEARCH",       cmd_search,       WHEN_SELECTED | KEEPS_NUMBERS | TAKES_NUMBERS, NULL },
	{ "SORT",         cmd_sort,         WHEN_SELECTED | KEEPS_NUMBERS | TAKES_NUMBERS, NULL },
	{ "THREAD",       cmd_thread,       WHEN_SELECTED | KEEPS_NUMBERS | TAKES_NUMBERS, NULL },
	{ "FETCH",        cmd_fetch,        WHEN_SELECTED | KEEPS_NUMBERS | TAKES_NUMBERS, NULL },
	{ "STORE",        cmd_store,        WHEN_SELECTED | KEEPS_NUMBERS | TAKES_NUMBERS, NULL },
	{ "COPY",         cmd_copy,         WHEN_SELECTED | TAKES_NUMBERS,        NULL },
	{ "MOVE",         cmd_move,         WHEN_SELECTED | TAKES_NUMBERS | EXPUNGES, NULL },
	{ "UID EXPUNGE",  cmd_expunge,      WHEN_SELECTED | BY_UID | EXPUNGES,    NULL },
	{ "UID SEARCH",   cmd_search,       WHEN_SELECTED | KEEPS_NUMBERS | BY_UID,          NULL },
	{ "UID SORT",     cmd_sort,         WHEN_SELECTED | KEEPS_NUMBERS | BY_UID,          NULL },
	{ "UID THREAD",   cmd_thread,       WHEN_SELECTED | KEEPS_NUMBERS | BY_UID,          NULL },
	{ "UID FETCH",    cmd_fetch,        WHEN_SELECTED | KEEPS_NUMBERS | BY_UID,          NULL },
	{ "UID STORE",    cmd_store,        WHEN_SELECTED | KEEPS_NUMBERS | BY_UID,          NULL },
	{ "UID COPY",     cmd_copy,         WHEN_SELECTED | BY_UID,               NULL },
	{ "UID MOVE",     cmd_move,         WHEN_SELECTED | BY_UID | EXPUNGES,    NULL },
	{ "REPLACE",      cmd_replace,      WHEN_SELECTED | TAKES_NUMBERS | EXPUNGES, cmd_replace_literal },
	{ "UID REPLACE",  cmd_replace,      WHEN_SELECTED | BY_UID | EXPUNGES,    cmd_replace_literal },
	{ "CANCELUPDATE", cmd_cancelupdate, WHEN_SELECTED,                        NULL },
	{ "ESEARCH",      cmd_esearch,      ALWAYS,                               NULL },
	{ "NOTIFY",       cmd_notify,       ALWAYS | EXPUNGES,                    NULL },
	{ "STARTTLS",     cmd_starttls,     ALWAYS,                               NULL },
	{ "LOGIN",        cmd_login,        ALWAYS,                               NULL },
	{ "AUTHENTICATE", cmd_login,        ALWAYS,                               NULL },
};

const struct verb *
verb_take(struct span *in)
{
	struct span rest = *in, word, second, whole;

	if (!imap_take_atom(&rest, &word))
		return NULL;
	whole = word;
	if (span_equal_nocase(word, SPAN("UID")) && imap_take_space(&rest) &&
		imap_take_atom(&rest, &second))
		whole = span_of(word.at, word.len + 1 + second.len);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (span_equal_nocase(whole, span_str(verbs[i].word))) {
			*in = rest;
			return &verbs[i];
		}
	}
	return NULL;
}
