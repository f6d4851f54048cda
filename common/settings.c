/* settings - see settings.h. */
#include "settings.h"

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void
add_text(struct text *to, const struct span *value, uint64_t most)
{
	wire_add_text(to, *value, most);
}

static void
add_number(struct text *to, const uint64_t *value, uint64_t most)
{
	(void)most;
	wire_add_u64(to, *value, sizeof(*value));
}

static void
add_flag(struct text *to, const bool *value, uint64_t most)
{
	(void)most;
	wire_add_flag(to, *value, 1);
}

static void
add_list(struct text *to, const struct list *value, uint64_t most)
{
	if (value->count > most)
		to->failed = true;
	wire_add_u32(to, (uint32_t)value->count, sizeof(uint32_t));
	for (size_t i = 0; i < value->count; i++)
		wire_add_text(to, value->at[i], MOST_SETTINGS);
}

static int
write_sealed(struct span bytes)
{
	int fd = memfd_create("settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -1;
	while (done < bytes.len) {
		ssize_t wrote = write(fd, bytes.at + done, bytes.len - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			goto fail;
		done += (size_t)wrote;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
fail:
	close(fd);
	return -1;
}

int
settings_to_file(const struct settings *s)
{
	struct text bytes = TEXT_UP_TO(MOST_SETTINGS);
	int fd = -1;

#define O(kind, name, initial, least, most, help) add_##kind(&bytes, &s->name, most);
	SETTINGS(O)
#undef O
	if (bytes.failed)
		errno = E2BIG;
	else
		fd = write_sealed(text_span(&bytes));
	text_clear(&bytes);
	return fd;
}

static bool
take_text(struct span *in, struct span *value, uint64_t least, uint64_t most)
{
	(void)least;
	return wire_take_text(in, value, most);
}

static bool
take_number(struct span *in, uint64_t *value, uint64_t least, uint64_t most)
{
	return wire_take_u64(in, value, sizeof(*value)) && *value >= least && *value <= most;
}

static bool
take_flag(struct span *in, bool *value, uint64_t least, uint64_t most)
{
	(void)least;
	(void)most;
	return wire_take_flag(in, value, 1);
}

static bool
take_list(struct span *in, struct list *value, uint64_t least, uint64_t most)
{
	uint32_t count;

	(void)least;
	if (!wire_take_u32(in, &count, sizeof(count)) || count > most)
		return false;
	value->at = must_alloc(count * sizeof(value->at[0]));
	for (value->count = 0; value->count < count; value->count++)
		if (!wire_take_text(in, &value->at[value->count], MOST_SETTINGS))
			return false;
	return true;
}

/* The whole file in memory of our own; pread, because every daemon shares the file offset. */
static bool
read_sealed(int fd, struct settings *s, struct span *bytes)
{
	struct stat st;
	size_t done = 0;

	if (fcntl(fd, F_GET_SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size < 0 ||
	    st.st_size > MOST_SETTINGS)
		return false;
	s->memory = must_alloc((size_t)st.st_size);
	while (done < (size_t)st.st_size) {
		ssize_t got = pread(fd, (unsigned char *)s->memory + done, (size_t)st.st_size - done,
			(off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	*bytes = span_of(s->memory, done);
	return true;
}

struct settings *
settings_from_file(int fd, uint32_t generation)
{
	struct settings *s = must_alloc(sizeof(*s));
	struct span bytes = SPAN_NONE;

	s->generation = generation;
	if (!read_sealed(fd, s, &bytes))
		goto fail;
#define O(kind, name, initial, least, most, help) \
	if (!take_##kind(&bytes, &s->name, least, most)) \
		goto fail;
	SETTINGS(O)
#undef O
	if (bytes.len == 0)
		return s;
fail:
	settings_free(&s);
	return NULL;
}

static void
clear_text(const struct span *value)
{
	(void)value;
}

static void
clear_number(const uint64_t *value)
{
	(void)value;
}

static void
clear_flag(const bool *value)
{
	(void)value;
}

static void
clear_list(const struct list *value)
{
	free(value->at);
}

void
settings_free(struct settings **settings)
{
	struct settings *s = *settings;

	*settings = NULL;
	if (s == NULL)
		return;
#define O(kind, name, initial, least, most, help) clear_##kind(&s->name);
	SETTINGS(O)
#undef O
	free(s->memory);
	free(s);
}

bool
settings_is_local_domain(const struct settings *s, struct span domain)
{
	for (size_t i = 0; i < s->domains.count; i++)
		if (span_equal_nocase(s->domains.at[i], domain))
			return true;
	return false;
}

bool
settings_has_source(const struct settings *s, struct span source)
{
	for (size_t i = 0; i < s->auth_sources.count; i++)
		if (span_equal_nocase(s->auth_sources.at[i], source))
			return true;
	return false;
}

bool
settings_has_socket(const struct settings *s, struct span path)
{
	for (size_t i = 0; i < s->lmtp_sockets.count; i++)
		if (span_equal(s->lmtp_sockets.at[i], path))
			return true;
	return false;
}

bool
settings_wants_tokens(const struct settings *s)
{
	return s->oauth_issuer.len > 0 || s->oauth_introspection.len > 0;
}

bool
settings_wants_pam(const struct settings *s)
{
	return s->system_users || settings_has_source(s, SPAN("pam"));
}

bool
settings_is_system_domain(const struct settings *s, struct span domain)
{
	for (size_t i = 0; s->system_users && i < s->system_domains.count; i++)
		if (span_equal_nocase(s->system_domains.at[i], domain))
			return true;
	return false;
}
