/* room-files - Landlock: which paths a process may still reach. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "beneath.h"
#include "log.h"
#include "room-parts.h"

/* Rights and fields that came after the first ABI; the headers of a distribution may be older than
 * its kernel. */
#define FS_REFER	    (1ULL << 13) /* ABI 2 */
#define FS_TRUNCATE	    (1ULL << 14) /* ABI 3 */
#define FS_IOCTL_DEV	    (1ULL << 15) /* ABI 5 */
#define NET_BIND_TCP	    (1ULL << 0)	 /* ABI 4 */
#define NET_CONNECT_TCP	    (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* ABI 6 */
#define SCOPE_SIGNAL	    (1ULL << 1)

#define FS_FIRST_ABI ((1ULL << 13) - 1)
#define FS_OF_FILES                                                                                \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                              \
		LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset {
	uint64_t files;	 /* ABI 1 */
	uint64_t net;	 /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

static long
kernel_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* Everything that this kernel can forbid. */
static struct ruleset
all_of(long abi, size_t *size)
{
	struct ruleset all = {FS_FIRST_ABI, 0, 0};

	if (abi >= 2)
		all.files |= FS_REFER;
	if (abi >= 3)
		all.files |= FS_TRUNCATE;
	if (abi >= 5)
		all.files |= FS_IOCTL_DEV;
	if (abi >= 4)
		all.net = NET_BIND_TCP |
			  NET_CONNECT_TCP; /* listeners are inherited, accept needs neither */
	if (abi >= 6)
		all.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	*size = abi >= 6 ? sizeof(all) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
	return all;
}

static uint64_t
rights_of(uint32_t rights)
{
	uint64_t allowed = 0;

	if ((rights & ROOM_READ) != 0)
		allowed |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	if ((rights & ROOM_WRITE) != 0)
		allowed |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
	/* Files and directories alone: nobody here makes links, pipes, sockets or devices. */
	if ((rights & ROOM_MAKE) != 0)
		allowed |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
			   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			   FS_REFER;
	return allowed;
}

static void
allow_path(const struct room *room, int ruleset, const struct room_path *path, uint64_t handled)
{
	struct landlock_path_beneath_attr rule;
	struct stat st;
	int fd = path->below == NULL ? fcntl(path->directory, F_DUPFD_CLOEXEC, 0)
				     : open_in(path->directory, path->below, O_PATH, 0);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st) < 0)
		room_die(room, "a path of the room");
	memset(&rule, 0, sizeof(rule));
	rule.parent_fd = fd;
	rule.allowed_access = rights_of(path->rights) & handled;
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FS_OF_FILES;
	if (rule.allowed_access != 0 &&
		syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		room_die(room, "Landlock rule");
	close(fd);
}

static uint8_t
without(const struct room *room, const char *why)
{
	log_warning(0, "no-landlock", KEY_STR("room", room->name), KEY_STR("reason", why));
	return 0;
}

uint8_t
room_forbid_files(const struct room *room, const struct room_path *paths, size_t count)
{
	struct ruleset all;
	size_t size;
	long abi = kernel_abi();
	int ruleset;

	if (abi < 1) {
		if (errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM)
			room_die(room, "Landlock");
		return without(room, "the kernel has none, or it was not enabled at boot");
	}
	/* The first ABI forbids every link and rename between two directories: no Maildir works so.
	 */
	for (size_t i = 0; abi < 2 && room->files && i < count; i++)
		if ((paths[i].rights & ROOM_MAKE) != 0)
			return without(room, "the kernel's Landlock cannot allow a rename into "
					     "another directory");

	all = all_of(abi, &size);
	if (room->network || room->internet)
		all.net = 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
	if (ruleset < 0)
		room_die(room, "Landlock ruleset");
	for (size_t i = 0; room->files && i < count; i++)
		allow_path(room, ruleset, &paths[i], all.files);
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		room_die(room, "Landlock");
	close(ruleset);
	return (uint8_t)(abi > UINT8_MAX ? UINT8_MAX : abi);
}
