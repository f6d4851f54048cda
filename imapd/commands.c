/* commands - every verb of a logged-in session, in one table. Adding one is adding a row and a
 * function (command.h). */
#include "imapd/command.h"

/* About a mailbox that it names; about the one that is selected; not telling EXPUNGE; putting into another. */
#define NAMED (ALWAYS | BY_NAME | FOR_GUESTS)
#define SELECTED (WHEN_SELECTED | TO_SELECTED | FOR_GUESTS)
#define READS (SELECTED | KEEPS_NUMBERS)
#define COPIES (SELECTED | NAMES_TARGET)

static const struct verb verbs[] = {
	/* word           does              allowed                               its own literal */
	{ "CAPABILITY",   cmd_capability,   ALWAYS | FOR_GUESTS,                  NULL },
	{ "NOOP",         cmd_noop,         ALWAYS | TO_SELECTED | FOR_GUESTS,    NULL },
	{ "LOGOUT",       cmd_logout,       ALWAYS | ENDS_SESSION | FOR_GUESTS,   NULL },
	{ "ID",           cmd_id,           ALWAYS,                               NULL },
	{ "ENABLE",       cmd_enable,       ALWAYS | FOR_GUESTS,                  NULL },
	{ "NAMESPACE",    cmd_namespace,    ALWAYS,                               NULL },
	{ "IDLE",         cmd_idle,         ALWAYS | TO_SELECTED | FOR_GUESTS,    NULL },
	{ "SELECT",       cmd_select,       NAMED,                                NULL },
	{ "EXAMINE",      cmd_examine,      NAMED,                                NULL },
	{ "CREATE",       cmd_create,       NAMED,                                NULL },
	{ "DELETE",       cmd_delete,       NAMED,                                NULL },
	{ "RENAME",       cmd_rename,       NAMED,                                NULL },
	{ "SUBSCRIBE",    cmd_subscribe,    ALWAYS,                               NULL },
	{ "UNSUBSCRIBE",  cmd_unsubscribe,  ALWAYS,                               NULL },
	{ "LIST",         cmd_list,         ALWAYS | FOR_GUESTS,                  NULL },
	{ "LSUB",         cmd_lsub,         ALWAYS,                               NULL },
	{ "STATUS",       cmd_status,       NAMED,                                NULL },
	{ "APPEND",       cmd_append,       NAMED,                                cmd_append_literal },
	{ "GETMETADATA",  cmd_getmetadata,  NAMED,                                NULL },
	{ "SETMETADATA",  cmd_setmetadata,  NAMED,                                NULL },
	{ "GETQUOTA",     cmd_getquota,     NAMED,                                NULL },
	{ "GETQUOTAROOT", cmd_getquotaroot, NAMED,                                NULL },
	{ "SETQUOTA",     cmd_setquota,     ALWAYS,                               NULL },
	{ "SETACL",       cmd_setacl,       NAMED,                                NULL },
	{ "DELETEACL",    cmd_deleteacl,    NAMED,                                NULL },
	{ "GETACL",       cmd_getacl,       NAMED,                                NULL },
	{ "LISTRIGHTS",   cmd_listrights,   NAMED,                                NULL },
	{ "MYRIGHTS",     cmd_myrights,     NAMED,                                NULL },
	{ "COMPRESS",     cmd_compress,     ALWAYS,                               NULL },
	{ "CHECK",        cmd_check,        SELECTED,                             NULL },
	{ "CLOSE",        cmd_close,        SELECTED,                             NULL },
	{ "UNSELECT",     cmd_unselect,     SELECTED,                             NULL },
	{ "EXPUNGE",      cmd_expunge,      SELECTED | EXPUNGES,                  NULL },
	{ "SEARCH",       cmd_search,       READS | TAKES_NUMBERS,                NULL },
	{ "SORT",         cmd_sort,         READS | TAKES_NUMBERS,                NULL },
	{ "THREAD",       cmd_thread,       READS | TAKES_NUMBERS,                NULL },
	{ "FETCH",        cmd_fetch,        READS | TAKES_NUMBERS,                NULL },
	{ "STORE",        cmd_store,        READS | TAKES_NUMBERS,                NULL },
	{ "COPY",         cmd_copy,         COPIES | TAKES_NUMBERS,               NULL },
	{ "MOVE",         cmd_move,         COPIES | TAKES_NUMBERS | EXPUNGES,    NULL },
	{ "UID EXPUNGE",  cmd_expunge,      SELECTED | BY_UID | EXPUNGES,         NULL },
	{ "XREMOVE",      cmd_remove,       WHEN_SELECTED | BY_UID | EXPUNGES | FOR_GUESTS | ONLY_GUESTS, NULL },
	{ "XAPPEND",      cmd_append,       NAMED | ONLY_GUESTS,                  cmd_append_literal },
	{ "UID SEARCH",   cmd_search,       READS | BY_UID,                       NULL },
	{ "UID SORT",     cmd_sort,         READS | BY_UID,                       NULL },
	{ "UID THREAD",   cmd_thread,       READS | BY_UID,                       NULL },
	{ "UID FETCH",    cmd_fetch,        READS | BY_UID,                       NULL },
	{ "UID STORE",    cmd_store,        READS | BY_UID,                       NULL },
	{ "UID COPY",     cmd_copy,         COPIES | BY_UID,                      NULL },
	{ "UID MOVE",     cmd_move,         COPIES | BY_UID | EXPUNGES,           NULL },
	{ "REPLACE",      cmd_replace,      COPIES | TAKES_NUMBERS | EXPUNGES,    cmd_replace_literal },
	{ "UID REPLACE",  cmd_replace,      COPIES | BY_UID | EXPUNGES,           cmd_replace_literal },
	{ "CANCELUPDATE", cmd_cancelupdate, SELECTED,                             NULL },
	{ "ESEARCH",      cmd_esearch,      ALWAYS | FOR_GUESTS,                  NULL },
	{ "NOTIFY",       cmd_notify,       ALWAYS | EXPUNGES,                    NULL },
	{ "UNAUTHENTICATE", cmd_unauthenticate, ALWAYS | ENDS_SESSION,            NULL },
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
