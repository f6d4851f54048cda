/*
 * replay - a main for fuzz targets where there is no libFuzzer: runs each file that is named, and
 * every file of each directory that is named, through the target once. Arguments that begin with
 * '-' (libFuzzer's options) are passed over.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_INPUT (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int replayed;

/* Hands over the input in memory of exactly its size, so that a read past its end is seen. */
static int
replay_file(int directory, const char *name)
{
	static uint8_t whole[MOST_INPUT];
	uint8_t *exact;
	ssize_t got;
	int fd;

	if ((fd = openat(directory, name, O_RDONLY | O_CLOEXEC)) < 0) {
		perror(name);
		return -1;
	}
	got = read(fd, whole, sizeof whole);
	close(fd);
	if (got < 0 || (exact = malloc(got > 0 ? (size_t)got : 1)) == NULL) {
		perror(name);
		return -1;
	}
	memcpy(exact, whole, (size_t)got);
	LLVMFuzzerTestOneInput(exact, (size_t)got);
	free(exact);
	replayed++;
	return 0;
}

static int
replay_directory(const char *name)
{
	struct dirent *entry;
	int result = 0;
	DIR *d;

	if ((d = opendir(name)) == NULL) {
		perror(name);
		return -1;
	}
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.' && replay_file(dirfd(d), entry->d_name) < 0)
			result = -1;
	closedir(d);
	return result;
}

int
main(int argc, char **argv)
{
	struct stat st;
	int result = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-')
			continue;
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			result |= replay_directory(argv[i]);
		else
			result |= replay_file(AT_FDCWD, argv[i]);
	}
	printf("%u inputs replayed\n", replayed);
	return result < 0 ? 1 : 0;
}
