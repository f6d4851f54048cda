/* mailbox-filter - see mailbox-filter.h. */
#include "imapd/mailbox-filter.h"

#include <string.h>

static bool
take_name(struct command *c, struct arena *arena, struct mailbox_filter *f)
{
	char folder[MOST_FOLDER_NAME + 1], *kept;
	struct span name;
	const char *why;

	if (f->count == MOST_FILTER_NAMES || !imap_take_astring(&c->args, &c->arena, &name))
		return false;
	if (name.len > 1 && name.at[name.len - 1] == (unsigned char)session_separator(c->session))
		name.len--;
	if (!session_folder_of(c->session, name, folder, &why))
		return true;
	kept = arena_alloc(arena, strlen(folder) + 1);
	memcpy(kept, folder, strlen(folder) + 1);
	f->folders[f->count++] = kept;
	return true;
}

/* SP one-or-more-mailbox */
static bool
take_names(struct command *c, struct arena *arena, struct mailbox_filter *f)
{
	f->folders = arena_alloc(arena, MOST_FILTER_NAMES * sizeof(*f->folders));
	if (!imap_take_space(&c->args))
		return false;
	if (!span_take(&c->args, '('))
		return take_name(c, arena, f);
	do {
		if (!take_name(c, arena, f))
			return false;
	} while (imap_take_space(&c->args));
	return span_take(&c->args, ')');
}

bool
mailbox_filter_take(struct command *c, struct arena *arena, struct mailbox_filter *f)
{
	static const struct {
		const char *word;
		enum filter_kind kind;
	} kinds[] = {
		{ "selected", FILTER_SELECTED }, { "selected-delayed", FILTER_SELECTED_DELAYED },
		{ "inboxes", FILTER_INBOXES }, { "personal", FILTER_PERSONAL },
		{ "subscribed", FILTER_SUBSCRIBED }, { "subtree", FILTER_SUBTREE },
		{ "subtree-one", FILTER_SUBTREE_ONE }, { "mailboxes", FILTER_MAILBOXES },
	};
	struct span word;

	*f = (struct mailbox_filter){ .count = 0 };
	if (!imap_take_atom(&c->args, &word))
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!span_equal_nocase(word, span_str(kinds[i].word)))
			continue;
		f->kind = kinds[i].kind;
		return f->kind < FILTER_SUBTREE || take_names(c, arena, f);
	}
	return false;
}

/* How far is `folder` below `root`? 0: the same; -1: not at all. On disk ".a.b" is below ".a", ".INBOX.a" below "". */
static int
depth_below(const char *root, const char *folder)
{
	const char *rest;
	size_t len;
	int depth = 0;

	if (strcmp(root, folder) == 0)
		return 0;
	if (root[0] == '\0')
		root = ".INBOX";
	len = strlen(root);
	if (strncmp(root, folder, len) != 0 || folder[len] != '.')
		return -1;
	for (rest = folder + len; *rest != '\0'; rest++)
		depth += *rest == '.';
	return depth;
}

bool
mailbox_filter_fits(const struct mailbox_filter *f, const char *folder, bool subscribed)
{
	/* All of a user's folders are delivered to: user+detail names any of them. */
	if (f->kind == FILTER_PERSONAL || f->kind == FILTER_INBOXES)
		return true;
	if (f->kind == FILTER_SUBSCRIBED)
		return subscribed;
	for (size_t i = 0; i < f->count; i++) {
		int depth = depth_below(f->folders[i], folder);

		if (depth == 0 || (depth > 0 && f->kind == FILTER_SUBTREE) ||
			(depth == 1 && f->kind == FILTER_SUBTREE_ONE))
			return true;
	}
	return false;
}
