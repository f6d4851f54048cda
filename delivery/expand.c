/* expand - what aliases and .forward files add to the rules for one address; see resolve.h. */
#include "resolve_inside.h"

#include "pipe_name.h"

#include "common/log.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* A name that is being expanded, or was. */
struct seen {
	bool open;
	char name[];
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

/* The mark of a name; *is_new when it is met for the first time. */
static struct seen *
see(struct expansion *x, struct span name, bool *is_new)
{
	struct seen *s = must_alloc(sizeof(*s) + name.len + 1);
	void **node;

	memcpy(s->name, name.at, name.len);
	if ((node = tsearch(s, &x->seen, compare)) == NULL)
		abort();
	*is_new = *node == (void *)s;
	if (!*is_new)
		free(s);
	return *node;
}

/* --- members --- */

static bool
is_known(struct expansion *x, struct span name, struct span domain, struct text *full)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY), value = TEXT_UP_TO(TABLE_MOST_VALUE),
		    members = TEXT_UP_TO(MOST_ALIAS_BYTES);
	struct table *aliases = x->r->table[TABLE_ALIASES];
	struct alias_head head;
	bool known;

	text_reset(full);
	text_add(full, name);
	text_add_byte(full, '@');
	text_add(full, domain);
	known = alias_key(text_span(full), &key) &&
		(table_get(x->r->users, text_span(&key), &value) == TABLE_FOUND ||
			(aliases != NULL &&
				alias_load(aliases, text_span(&key), &head, &members) ==
					TABLE_FOUND));
	text_clear(&key);
	text_clear(&value);
	text_clear(&members);
	return known;
}

/* A bare name is completed by the domain of the alias that it stands in, or by the first of `domains`
 * where that domain has no users, or not this one. */
static void
complete(struct expansion *x, struct span name, struct span address, struct text *to)
{
	const struct settings *s = x->settings;
	struct span first = s->domains.count > 0 ? s->domains.at[0]
		: s->system_domains.count > 0	 ? s->system_domains.at[0]
						 : x->domain;
	bool has_users = settings_is_local_domain(s, x->domain) ||
		settings_is_system_domain(s, x->domain);

	text_reset(to);
	if (name.at[0] == '@' || span_rindex(name, '@') < name.len ||
	    span_equal_nocase(name, SPAN("postmaster"))) {
		/* "@domain": the same local part there. */
		if (name.at[0] == '@')
			text_add(to, span_part(address, 0, span_rindex(address, '@')));
		text_add(to, name);
	} else if (!has_users || (!is_known(x, name, x->domain, to) && is_known(x, name, first, to))) {
		is_known(x, name, first, to);
	} else {
		is_known(x, name, x->domain, to);
	}
}

/* A command or a file, by the alias in which it stands: nothing else has its text (pipe_name.h). */
static void
place_pipe(struct expansion *x, const struct alias_member *m, struct span key, struct span address)
{
	struct resolved p = { .leads = LEADS_PIPE };
	struct text name = TEXT_UP_TO(MOST_PIPE_NAME);

	pipe_name_make(key, m->text, &name);
	expansion_tell(x, "%s%.*s", m->kind == ALIAS_COMMAND ? "|" : "", SPAN_ARG(m->text));
	p.address = must_copy(address);
	p.home = must_copy(text_span(&name));
	expansion_place(x, &p);
	free(p.address);
	free(p.home);
	text_clear(&name);
}

/* key: of the alias in which it stands; none: a .forward. */
static void
expand_member(struct expansion *x, const struct alias_member *m, struct span key, struct span address)
{
	struct text name = TEXT_UP_TO(MOST_ADDRESS);

	/* As everywhere: nobody wants it. */
	if (m->kind == ALIAS_FILE && span_equal(m->text, SPAN("/dev/null"))) {
		struct resolved nowhere = { .leads = LEADS_DISCARD };

		expansion_tell(x, "/dev/null: discarded");
		nowhere.address = must_copy(address);
		expansion_place(x, &nowhere);
		free(nowhere.address);
		return;
	}
	if (key.len > 0 && ((m->kind == ALIAS_COMMAND && x->settings->alias_commands) ||
				   (m->kind == ALIAS_FILE && x->settings->alias_files))) {
		place_pipe(x, m, key, address);
		return;
	}
	/* Only where the administrator allows it, and never what a user wrote. */
	if (m->kind == ALIAS_COMMAND || m->kind == ALIAS_FILE) {
		log_warning(0, "alias-member-refused", KEY_SPAN("alias", address),
			KEY_STR("reason", m->kind == ALIAS_COMMAND ? "a command" : "a file"));
		expansion_refuse(x, V_NOT_ALLOWED);
		return;
	}
	complete(x, m->text, address, &name);
	expansion_tell(x, "%s%.*s", m->kind == ALIAS_FINAL ? "\\" : "", SPAN_ARG(text_span(&name)));
	if (name.failed)
		expansion_refuse(x, V_BAD_RECIPIENT);
	else if (m->kind == ALIAS_FINAL || span_equal_nocase(text_span(&name), address))
		expand_final(x, text_span(&name));
	else
		expand_name(x, text_span(&name));
	text_clear(&name);
}

void
expand_final(struct expansion *x, struct span name)
{
	bool again = x->again;

	x->again = true;
	expand_name(x, name);
	x->again = again;
}

/* --- aliases --- */

/* The sender of what goes to LIST is owner-LIST, where there is one: failures are the owner's. */
static char *
owner_of(struct expansion *x, struct span key, struct span address)
{
	struct text owner = TEXT_UP_TO(MOST_ADDRESS), members = TEXT_UP_TO(MOST_ALIAS_BYTES),
		    value = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct alias_head head;
	char *sender = NULL;
	size_t at = span_rindex(address, '@');
	bool there;

	if (key.at[0] == '@' || span_starts_nocase(key, SPAN("owner-")))
		return NULL;
	text_add_str(&owner, "owner-");
	text_add(&owner, address);
	there = alias_load(x->r->table[TABLE_ALIASES], text_span(&owner), &head, &members) ==
			TABLE_FOUND ||
		table_get(x->r->users, text_span(&owner), &value) == TABLE_FOUND ||
		(settings_is_local_domain(x->settings, span_part(address, at + 1, address.len)) &&
			alias_load(x->r->table[TABLE_ALIASES],
				span_part(text_span(&owner), 0, at + 6), &head, &members) ==
				TABLE_FOUND);
	if (there && !owner.failed) {
		sender = must_copy(text_span(&owner));
		expansion_tell(x, "sender: %s", sender);
	}
	text_clear(&owner);
	text_clear(&members);
	text_clear(&value);
	return sender;
}

static void
expand_members(struct expansion *x, struct span key, struct span address, struct span list)
{
	const char *sender = x->sender;
	char *owner = owner_of(x, key, address);
	struct alias_member m;

	if (owner != NULL)
		x->sender = owner;
	x->to->aliased = true;
	x->depth++;
	while (!x->stopped && alias_decode(&list, &m))
		expand_member(x, &m, key, address);
	x->depth--;
	x->sender = sender;
	free(owner);
}

enum found
expand_alias(struct expansion *x, struct span key, struct span address)
{
	struct text members = TEXT_UP_TO(MOST_ALIAS_BYTES);
	struct alias_head head;
	struct seen *mark;
	bool is_new;
	enum table_result result = x->r->table[TABLE_ALIASES] == NULL
		? TABLE_NONE
		: alias_load(x->r->table[TABLE_ALIASES], key, &head, &members);

	if (result != TABLE_FOUND) {
		text_clear(&members);
		return result == TABLE_NONE ? NOT_FOUND : IN_TROUBLE;
	}
	expansion_tell(x, "alias %.*s (line %u)", SPAN_ARG(key), head.line);
	/* A bare name leads to other addresses in each domain; @domain stands for each address. */
	mark = see(x, address, &is_new);
	if (!is_new && mark->open) {
		log_warning(0, "alias-loop", KEY_SPAN("alias", address));
		expansion_stop(x, V_ALIAS_LOOP);
	} else if (!is_new) {
		expansion_tell(x, "expanded before");
	} else if (x->depth >= MOST_ALIAS_DEPTH) {
		log_warning(0, "alias-too-deep", KEY_SPAN("alias", address));
		expansion_stop(x, V_ALIAS_DEEP);
	} else {
		mark->open = true;
		expand_members(x, key, address, text_span(&members));
		mark->open = false;
	}
	text_clear(&members);
	return FOUND;
}

/* --- system users --- */

static void
place_system(struct expansion *x, const struct system_user *u, struct span address, struct span detail)
{
	struct resolved p = { .leads = LEADS_HERE, .uid = u->uid, .gid = u->gid, .home = u->home,
		.system = true };

	expansion_tell(x, "mailbox %s/Maildir of uid %u", u->home, u->uid);
	p.address = must_copy(address);
	p.folder = detail.len > 0 ? must_copy(detail) : NULL;
	expansion_place(x, &p);
	free(p.address);
	free(p.folder);
}

/* The whole file is sound, or none of it counts. */
static bool
forward_is_sound(struct span text, const char **why)
{
	struct text member = TEXT_UP_TO(MOST_ALIAS_MEMBER);
	struct alias_member m;
	int taken, count = 0;

	*why = NULL;
	while ((taken = alias_member_take(&text, &member, &m, why)) > 0) {
		if (m.kind == ALIAS_INCLUDE)
			*why = ":include: is for the administrator's aliases";
		else if (m.kind == ALIAS_COMMAND ||
			(m.kind == ALIAS_FILE && !span_equal(m.text, SPAN("/dev/null"))))
			*why = "commands are not run, and files not written";
		else if (++count > MOST_FORWARD_MEMBERS)
			*why = "too many members";
		if (*why != NULL)
			break;
	}
	if (*why == NULL && count == 0)
		*why = "it is empty";
	text_clear(&member);
	return *why == NULL;
}

static void
expand_forward(struct expansion *x, const struct system_user *u, struct span address,
	struct span detail, struct span text)
{
	struct text member = TEXT_UP_TO(MOST_ALIAS_MEMBER);
	struct system_user mine = *u;
	struct alias_member m;
	const char *why;
	struct seen *mark;
	bool is_new;

	if (!forward_is_sound(text, &why)) {
		log_warning(0, "forward-ignored", KEY_SPAN("user", address), KEY_STR("reason", why));
		place_system(x, u, address, detail);
		return;
	}
	mark = see(x, address, &is_new);
	if (!is_new) {
		/* He names himself, or somebody who forwards to him: then the mailbox is meant. */
		if (mark->open)
			place_system(x, u, address, detail);
		return;
	}
	if (x->depth >= MOST_ALIAS_DEPTH) {
		expansion_stop(x, V_ALIAS_DEEP);
		return;
	}
	mark->open = true;
	mine.home = must_copy(span_str(u->home));
	expansion_tell(x, ".forward of %s", mine.home);
	x->to->aliased = true;
	x->depth++;
	while (!x->stopped && alias_member_take(&text, &member, &m, &why) > 0)
		expand_member(x, &m, SPAN_NONE, address);
	x->depth--;
	mark->open = false;
	free(mine.home);
	text_clear(&member);
}

enum found
expand_system(struct expansion *x, const struct address *a, struct span detail)
{
	struct system_user u;
	struct span text, local = a->local;
	struct text address = TEXT_UP_TO(MOST_ADDRESS);
	int known;

	if (x->r->asks == NULL || a->quoted || !settings_is_system_domain(x->settings, a->domain))
		return NOT_FOUND;
	known = x->r->asks->name(x->r->me, local, &u);
	if (known == 0)
		return NOT_FOUND;
	if (known == -2)
		return IN_TROUBLE;
	if (known == -1) {
		x->to->waits = true;
		return FOUND;
	}
	/* root reads no mail: it would be delivered with root's rights. */
	if (u.uid == 0) {
		expansion_tell(x, "%.*s is root, who has no mailbox: an alias is needed", SPAN_ARG(local));
		return NOT_FOUND;
	}
	text_add(&address, local);
	if (detail.len > 0) {
		text_add(&address, span_part(x->settings->subaddress_separators, 0, 1));
		text_add(&address, detail);
	}
	text_add_byte(&address, '@');
	text_add(&address, a->domain);
	known = x->again ? 0 : x->r->asks->forward(x->r->me, local, &u, &text);
	if (known == -1)
		x->to->waits = true;
	else if (known == -2)
		known = -2;
	else if (known == 1)
		expand_forward(x, &u, text_span(&address), detail, text);
	else
		place_system(x, &u, text_span(&address), detail);
	text_clear(&address);
	return known == -2 ? IN_TROUBLE : FOUND;
}
