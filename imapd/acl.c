/* acl - see acl.h. */
#include "imapd/acl.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/message.h"
#include "imapd/flags.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANYONE SPAN("anyone")

static const char letters[RIGHTS + 1] = "lrswipkxtea";

bool
rights_take(struct span in, unsigned int *rights)
{
	*rights = 0;
	for (size_t i = 0; i < in.len; i++) {
		const char *at = in.at[i] == '\0' ? NULL : strchr(letters, in.at[i]);

		if (at != NULL)
			*rights |= 1u << (at - letters);
		else if (in.at[i] == 'c')
			*rights |= RIGHT_CREATE;
		else if (in.at[i] == 'd')
			*rights |= RIGHT_DELETE | RIGHT_TRASH | RIGHT_EXPUNGE;
		else
			return false;
	}
	return true;
}

static void
letters_write(unsigned int rights, struct text *out)
{
	for (unsigned int i = 0; i < RIGHTS; i++) {
		if (rights & (1u << i))
			text_add_byte(out, (unsigned char)letters[i]);
	}
}

void
rights_write(unsigned int rights, struct text *out)
{
	letters_write(rights, out);
	if (rights & RIGHT_CREATE)
		text_add_byte(out, 'c');
	if (rights & (RIGHT_DELETE | RIGHT_TRASH | RIGHT_EXPUNGE))
		text_add_byte(out, 'd');
}

uint8_t
rights_flags(unsigned int rights)
{
	uint8_t flags = 0;

	if (rights & RIGHT_SEEN)
		flags |= FLAG_SEEN;
	if (rights & RIGHT_TRASH)
		flags |= FLAG_DELETED;
	if (rights & RIGHT_WRITE)
		flags |= FLAG_SYSTEM & (uint8_t)~(FLAG_SEEN | FLAG_DELETED);
	return flags;
}

/* The address is compared with those that auth tells: lower case, one @ with something on both sides. */
bool
acl_identifier(struct span name, struct text *key)
{
	size_t at = span_index(name, '@');

	if (span_equal(name, ANYONE)) {
		text_add(key, name);
		return true;
	}
	if (at == 0 || at + 1 >= name.len || name.len > MOST_ACL_IDENTIFIER || !span_is_utf8(name) ||
		span_index(span_part(name, at + 1, SIZE_MAX), '@') != name.len - at - 1)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		if (c <= ' ' || c == 0x7f || c == '"' || c == '\\' || c == '/')
			return false;
		text_add_byte(key, c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c);
	}
	return true;
}

/* --- the file --- */

static int
open_folder(const struct store *store, const char *folder)
{
	int fd = open_in(store->maildir, folder[0] == '\0' ? "." : folder, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		errno = ENOENT;
	return fd;
}

/* 1: read; 0: there is none; -1. */
static int
read_file(int directory, const char *name, struct text *content)
{
	int fd = open_in(directory, name, O_RDONLY, 0), error;
	unsigned char piece[4096];
	off_t at = 0;
	ssize_t got;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	while ((got = read_at(fd, piece, sizeof(piece), at)) > 0 && !content->failed) {
		text_add(content, span_of(piece, (size_t)got));
		at += got;
	}
	error = content->failed ? EFBIG : errno;
	close(fd);
	errno = error;
	return got < 0 || content->failed ? -1 : 1;
}

/* Can acl_print say it? Nobody is called so, and a line break or quotation mark would begin another entry. */
static bool
is_writable(struct span who)
{
	for (size_t i = 0; i < who.len; i++) {
		if (who.at[i] < ' ' || who.at[i] == '"')
			return false;
	}
	return true;
}

/* "[-]user=ADDRESS rights" or "[-]anyone rights", perhaps in quotation marks. Dovecot's groups mean nobody here, its
 * "authenticated" everybody; its "owner" has all rights anyway. */
static void
take_line(struct acl *acl, struct span line)
{
	struct acl_entry e = { .negative = false };
	struct span who;
	bool quoted = span_take(&line, '"');

	if (!span_take_until(&line, quoted ? '"' : ' ', &who)) {
		who = line;
		line = SPAN_NONE;
	}
	line = span_trim(line);
	/* Dovecot has named rights behind a colon: ":insert"; there are none of ours. */
	line = span_part(line, 0, span_index(line, ':'));
	e.negative = span_take(&who, '-');
	if (span_equal(who, SPAN("owner")) || span_starts_nocase(who, SPAN("group")))
		return;
	if (span_take_word(&who, SPAN("user=")) || span_equal(who, ANYONE))
		e.who = who;
	else if (span_equal(who, SPAN("authenticated")))
		e.who = ANYONE;
	if (e.who.len == 0 || e.who.len > MOST_ACL_IDENTIFIER || !is_writable(e.who) ||
		!rights_take(span_trim(line), &e.rights) || acl->count == MOST_ACL_ENTRIES)
		acl->damaged = true;
	else
		acl->at[acl->count++] = e;
}

void
acl_parse(struct acl *acl, struct span in)
{
	struct span line;

	acl->count = 0;
	acl->damaged = false;
	while (in.len > 0) {
		if (!span_take_until(&in, '\n', &line)) {
			line = in;
			in = SPAN_NONE;
		}
		line = span_trim(line);
		if (line.len > 0 && line.at[0] != '#')
			take_line(acl, line);
	}
	if (acl->damaged)
		acl->count = 0;
}

int
acl_read(const struct store *store, const char *folder, struct acl *acl)
{
	int directory = open_folder(store, folder), found;

	acl->content = TEXT_UP_TO(MOST_ACL_FILE);
	acl->count = 0;
	acl->damaged = false;
	if (directory < 0)
		return -1;
	found = read_file(directory, ACL_FILE, &acl->content);
	if (found == 0)
		found = read_file(directory, ACL_DOVECOT_FILE, &acl->content);
	close(directory);
	if (found > 0)
		acl_parse(acl, text_span(&acl->content));
	acl->damaged |= found < 0;
	if (acl->damaged)
		log_warning(0, "acl-unreadable", KEY_STR("folder", folder));
	return 0;
}

void
acl_print(const struct acl *acl, struct text *content)
{
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];

		bool quoted = span_has(e->who, ' ');     /* taken over from Dovecot, so that it stays */

		if (quoted)
			text_add_byte(content, '"');
		if (e->negative)
			text_add_byte(content, '-');
		if (!span_equal(e->who, ANYONE))
			text_add(content, SPAN("user="));
		text_add(content, e->who);
		if (quoted)
			text_add_byte(content, '"');
		text_add_byte(content, ' ');
		letters_write(e->rights, content);
		text_add_byte(content, '\n');
	}
}

int
acl_write(struct store *store, const char *folder, const struct acl *acl)
{
	struct text content = TEXT_UP_TO(MOST_ACL_FILE);
	int directory = open_folder(store, folder), result = -1, error;

	if (directory < 0)
		return -1;
	acl_print(acl, &content);
	errno = EFBIG;
	if (!content.failed)
		result = store_write_file(store, directory, ACL_FILE, text_span(&content), true);
	error = errno;
	text_clear(&content);
	close(directory);
	errno = error;
	return result;
}

void
acl_clear(struct acl *acl)
{
	text_clear(&acl->content);
	acl->count = 0;
}

/* --- what it says --- */

struct acl_entry *
acl_find(struct acl *acl, bool negative, struct span who)
{
	for (size_t i = 0; i < acl->count; i++) {
		if (acl->at[i].negative == negative && span_equal(acl->at[i].who, who))
			return &acl->at[i];
	}
	return NULL;
}

bool
acl_set(struct acl *acl, bool negative, struct span who, unsigned int rights)
{
	struct acl_entry *e = acl_find(acl, negative, who);

	if (rights == 0) {
		if (e != NULL)
			*e = acl->at[--acl->count];
		return true;
	}
	if (e == NULL) {
		if (acl->count == MOST_ACL_ENTRIES)
			return false;
		e = &acl->at[acl->count++];
	}
	*e = (struct acl_entry){ negative, who, rights };
	return true;
}

static struct span
domain_of(struct span address)
{
	size_t at = span_rindex(address, '@');

	return at == address.len ? SPAN_NONE : span_part(address, at + 1, SIZE_MAX);
}

unsigned int
acl_rights(const struct acl *acl, struct span member, struct span owner)
{
	unsigned int given = 0, taken = 0;
	struct span domain = domain_of(owner);
	bool same = domain.len > 0 && span_equal_nocase(domain_of(member), domain);

	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];

		if (!span_equal(e->who, member) && !(same && span_equal(e->who, ANYONE)))
			continue;
		*(e->negative ? &taken : &given) |= e->rights;
	}
	return given & ~taken;
}

unsigned int
acl_folder_rights(const struct store *store, const char *folder, struct span member, struct span owner)
{
	struct acl *acl = must_alloc(sizeof(*acl));
	unsigned int rights = 0;

	if (acl_read(store, folder, acl) == 0)
		rights = acl_rights(acl, member, owner);
	acl_clear(acl);
	free(acl);
	return rights;
}

static bool
has_line(struct span in, struct span wanted)
{
	struct span line;

	while (span_take_until(&in, '\n', &line)) {
		if (span_equal(line, wanted))
			return true;
	}
	return false;
}

static int
add_members(const struct store *store, const char *folder, struct acl *acl, struct text *members)
{
	if (acl_read(store, folder, acl) < 0)
		return errno == ENOENT ? 0 : -1;
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];

		if (e->negative || has_line(text_span(members), e->who))
			continue;
		text_add(members, e->who);
		text_add_byte(members, '\n');
	}
	acl_clear(acl);
	return 0;
}

int
acl_members_begin(const struct store *store, struct acl_members *m)
{
	m->members = TEXT_UP_TO(MOST_SHARES);
	m->at = 0;
	return folder_list_read(store, false, &m->folders);
}

int
acl_members_next(const struct store *store, struct acl_members *m)
{
	const struct folder_entry *e = &m->folders.entries[m->at];
	char folder[MOST_FOLDER_NAME + 1];
	struct acl *acl;
	const char *why;
	int result = 0;

	if (m->at == m->folders.count)
		return 0;
	m->at++;
	if (!e->exists || !folder_of_name(e->name, folder, &why))
		return 1;
	acl = must_alloc(sizeof(*acl));
	result = add_members(store, folder, acl, &m->members);
	free(acl);
	return result == 0 ? 1 : -1;
}

void
acl_members_clear(struct acl_members *m)
{
	text_clear(&m->members);
	folder_list_clear(&m->folders);
}
