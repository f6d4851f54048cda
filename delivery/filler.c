/* filler - see filler.h. */
#include "filler.h"

#include "common/beneath.h"
#include "common/filled.h"
#include "placer_inside.h"
#include "user.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_DIGITS 32

static struct filling *
find(struct filler *f, uint64_t id)
{
	for (size_t i = 0; i < MOST_FILLING; i++)
		if (f->at[i].id == id)
			return &f->at[i];
	return NULL;
}

static void
forget(struct filling *g)
{
	close(g->directory);
	g->id = 0;
}

void
filler_clear(struct filler *f)
{
	for (size_t i = 0; i < MOST_FILLING; i++)
		if (f->at[i].id != 0)
			forget(&f->at[i]);
	f->gist = NULL;
}

/* --- asking --- */

/* "valija/ID" of a folder that was opened before. */
static bool
index_path(int folder, char path[sizeof(MAILDIR_PRIVATE) + 1 + ID_DIGITS])
{
	unsigned char id[ID_DIGITS + 1];
	int fd = open_in(folder, MAILBOX_ID_FILE, O_RDONLY, 0);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read_at(fd, id, sizeof(id), 0);
	close(fd);
	if (got != sizeof(id) || id[ID_DIGITS] != '\n')
		return false;
	for (size_t i = 0; i < ID_DIGITS; i++)
		if (span_hex_value(id[i]) < 0)
			return false;
	memcpy(path, MAILDIR_PRIVATE "/", sizeof(MAILDIR_PRIVATE));
	memcpy(path + sizeof(MAILDIR_PRIVATE), id, ID_DIGITS);
	path[sizeof(MAILDIR_PRIVATE) + ID_DIGITS] = '\0';
	return true;
}

/* What his clients ask for. */
static bool
read_wishes(int directory, unsigned char wishes[MOST_WISHES])
{
	int fd = open_in(directory, FILLED_WISHES, O_RDONLY, 0);
	bool is;

	if (fd < 0)
		return false;
	is = read_at(fd, wishes, MOST_WISHES, 0) == MOST_WISHES;
	close(fd);
	return is;
}

/* No more is asked for than can be written: what imap has not taken yet may be full. */
static bool
has_room(int directory)
{
	struct stat st;

	return fstatat(directory, FILLED_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	       (uint64_t)st.st_size + MOST_FILLED_RECORD <= MOST_FILLED;
}

void
filler_begin(struct placer *p, int inbox, int folder, int new, const struct maildir_name *name, uint32_t uid, uint32_t gid)
{
	char path[sizeof(MAILDIR_PRIVATE) + 1 + ID_DIGITS];
	unsigned char wishes[MOST_WISHES];
	struct filler *f = &p->filler;
	struct filling *g = f->gist == NULL ? NULL : find(f, 0);
	int directory = -1, message = -1;

	if (g == NULL || !placer_enter(p, uid, gid))
		return;
	if (index_path(folder, path) && (directory = open_in(inbox, path, O_RDONLY | O_DIRECTORY, 0)) >= 0 &&
		has_room(directory) && read_wishes(directory, wishes))
		message = open_in(new, name->str, O_RDONLY, 0);
	user_leave();
	if (message < 0) {
		if (directory >= 0)
			close(directory);
		return;
	}
	*g = (struct filling){ .id = ++f->last, .directory = directory, .uid = uid, .gid = gid, .name = *name };
	if (!send_gist_ask(f->gist, g->id, &(struct msg_gist_ask){ .wishes = span_of(wishes, sizeof(wishes)) }, &message))
		forget(g);
}

/* --- hearing --- */

/* A file that only a delivery can have made, and not too large. */
static bool
may_append(int fd, size_t len)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 1 && st.st_size >= 0 &&
	       (uint64_t)st.st_size + len <= MOST_FILLED;
}

/* One write: several workers may append. What did not get there whole takes the rest along, which nobody could find
 * behind it. */
static void
append(const struct filling *g, struct span record)
{
	int fd = open_in(g->directory, FILLED_NAME, O_WRONLY | O_APPEND | O_CREAT, 0600);
	ssize_t done;

	if (fd < 0)
		return;
	if (may_append(fd, record.len)) {
		done = write(fd, record.at, record.len);
		if (done > 0 && (size_t)done < record.len)
			(void)unlinkat(g->directory, FILLED_NAME, 0);
	}
	close(fd);
}

static void
on_gist_told(void *me, struct channel *from, uint64_t id, const struct msg_gist_told *m, const int *fd)
{
	struct text record = TEXT_UP_TO(MOST_FILLED_RECORD);
	struct placer *p = me;
	struct filling *g = find(&p->filler, id);

	(void)from;
	(void)fd;
	if (m->gist.len > 0 && filled_add(&record, &(struct filled){ span_str(g->name.str), m->gist }) &&
		placer_enter(p, g->uid, g->gid)) {
		append(g, text_span(&record));
		user_leave();
	}
	text_clear(&record);
	forget(g);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct placer *p = me;

	(void)from;
	(void)m;
	return id != 0 && find(&p->filler, id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
gist_gone(void *me, struct channel *from)
{
	struct placer *p = me;

	if (p->filler.gist == from)
		filler_clear(&p->filler);
}

void
filler_peer(struct placer *p, struct channel *gist)
{
	filler_clear(&p->filler);
	p->filler.gist = gist;
}

const struct hearing filler_hears_gist = {
	.hour = hour,
	.gone = gist_gone,
	.on_gist_told = on_gist_told,
};
