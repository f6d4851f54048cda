/* Who is let in at a listener, who is turned away with which word, and who is left to others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/door.h"

#define MOST_INSIDE 32
#define WAIT_MILLISECONDS 5000

/* One customer's IPv6 addresses are one; IPv4 in IPv6 is IPv4. */
static void
customers(void **state)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	struct sockaddr_in b = { .sin_family = AF_INET };
	struct guest_key one, two;
	struct guest *v[3];
	char ip[MOST_IP];
	void *root = NULL;

	(void)state;
	inet_pton(AF_INET6, "2001:db8:1:2::1", &a.sin6_addr);
	guest_name((struct sockaddr *)&a, ip, &one);
	assert_string_equal(ip, "2001:db8:1:2::1");
	inet_pton(AF_INET6, "2001:db8:1:2:ffff::2", &a.sin6_addr);
	guest_name((struct sockaddr *)&a, ip, &two);
	assert_memory_equal(&one, &two, sizeof(one));
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &a.sin6_addr);
	guest_name((struct sockaddr *)&a, ip, &one);
	assert_string_equal(ip, "192.0.2.1");
	inet_pton(AF_INET, "192.0.2.1", &b.sin_addr);
	guest_name((struct sockaddr *)&b, ip, &two);
	assert_memory_equal(&one, &two, sizeof(one));

	assert_non_null(v[0] = guest_enter(&root, &one, 2));
	assert_non_null(v[1] = guest_enter(&root, &one, 2));
	assert_null(guest_enter(&root, &one, 2));
	two.at[15]++;
	assert_non_null(v[2] = guest_enter(&root, &two, 2));
	guest_leave(&root, &v[0]);
	assert_non_null(v[0] = guest_enter(&root, &one, 2));
	for (int i = 0; i < 3; i++)
		guest_leave(&root, &v[i]);
	assert_null(root);
}

static struct {
	struct daemon daemon;
	struct settings settings;
	struct door door;
	struct {
		int fd;
		struct guest *guest;
		enum service service;
	} inside[MOST_INSIDE];
	size_t count;
	struct sockaddr_in address;
	struct arrival latest;
} house;

static int
option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
	return value;
}

/* What the listener has, connections inherit. */
static void
has_options(int fd)
{
	if (option_of(fd, SOL_SOCKET, SO_DOMAIN) != AF_INET)
		return;
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), KEEPALIVE_IDLE_SECONDS);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), KEEPALIVE_STEP_SECONDS);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), KEEPALIVE_TRIES);
}

static void
welcome(void *me, const struct arrival *a, int fd, struct guest *guest)
{
	assert_ptr_equal(me, &house);
	house.latest = *a;
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	has_options(fd);
	assert_true(house.count < MOST_INSIDE);
	house.inside[house.count].fd = fd;
	house.inside[house.count].service = a->service;
	house.inside[house.count++].guest = guest;
}

static const struct door_kind kind = {
	.services = 1u << SERVICE_IMAP | 1u << SERVICE_IMAPS,
	.full = "full\r\n",
	.crowded = "crowded\r\n",
	.welcome = welcome,
};

static int
listening(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(house.address);

	house.address = (struct sockaddr_in){ .sin_family = AF_INET };
	house.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&house.address, len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&house.address, &len), 0);
	return fd;
}

static int
build_house(void **state)
{
	(void)state;
	memset(&house, 0, sizeof(house));
	house.daemon.base = event_base_new();
	house.daemon.settings = &house.settings;
	house.daemon.me = &house;
	house.settings.connections = 4;
	house.settings.connections_per_address = 3;
	door_open(&house.door, &house.daemon, &kind);
	return 0;
}

static void
see_out(void)
{
	house.count--;
	close(house.inside[house.count].fd);
	door_left(&house.door, &house.inside[house.count].guest);
	assert_null(house.inside[house.count].guest);
}

static int
pull_down(void **state)
{
	(void)state;
	while (house.count > 0)
		see_out();
	door_close(&house.door);
	if (house.door.accept_again)
		event_free(house.door.accept_again);
	event_base_free(house.daemon.base);
	return 0;
}

static int
knock(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&house.address, sizeof(house.address)), 0);
	event_base_loop(house.daemon.base, EVLOOP_NONBLOCK);
	return fd;
}

/* What the client at `fd` hears before the end, while the loop turns. */
static void
hears(int fd, const char *words)
{
	char line[64];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	for (int waited = 0; waited < WAIT_MILLISECONDS; waited += 10) {
		ssize_t n;

		event_base_loop(house.daemon.base, EVLOOP_NONBLOCK);
		if (poll(&p, 1, 10) == 0)
			continue;
		n = recv(fd, line + len, sizeof(line) - len, 0);
		if (n <= 0) {
			assert_int_equal(len, strlen(words));
			assert_memory_equal(line, words, len);
			close(fd);
			return;
		}
		len += (size_t)n;
	}
	fail_msg("nobody closed; %s was awaited", words);
}

static void
an_address_has_its_share(void **state)
{
	int fd[3];

	(void)state;
	door_listen(&house.door, SERVICE_IMAP, SPAN("a"), false, listening());
	for (size_t i = 0; i < 3; i++) {
		fd[i] = knock();
		assert_int_equal(house.count, i + 1);
		assert_int_equal(house.door.connections, i + 1);
	}
	hears(knock(), "crowded\r\n");
	assert_int_equal(house.door.connections, 3);
	/* who leaves makes room */
	see_out();
	close(fd[2]);
	fd[2] = knock();
	assert_int_equal(house.count, 3);
	assert_int_equal(house.inside[2].service, SERVICE_IMAP);
	for (size_t i = 0; i < 3; i++)
		close(fd[i]);
}

/* Where TLS comes first a word in clear would be an error of its own: only the end. */
static void
no_word_in_clear_where_tls_comes_first(void **state)
{
	int fd;

	(void)state;
	house.settings.connections_per_address = 1;
	door_listen(&house.door, SERVICE_IMAPS, SPAN("a"), false, listening());
	fd = knock();
	assert_int_equal(house.count, 1);
	hears(knock(), "");
	close(fd);
}

/* Full: for one pause it is left to the others of the kind, which share the listener. */
static void
the_full_house_leaves_it_to_others_first(void **state)
{
	int shared = listening(), fd[2], taken;

	(void)state;
	house.settings.connections = 1;
	door_listen(&house.door, SERVICE_IMAP, SPAN("a"), false, fcntl(shared, F_DUPFD_CLOEXEC, 0));
	fd[0] = knock();
	assert_int_equal(house.count, 1);
	fd[1] = knock();
	assert_true(house.door.paused);
	taken = accept(shared, NULL, NULL);
	assert_true(taken >= 0);
	close(taken);
	close(fd[1]);
	/* nobody else takes this one: after the pause it hears the word */
	hears(knock(), "full\r\n");
	assert_int_equal(house.door.connections, 1);
	close(fd[0]);
	close(shared);
}

/* What the kernel says of the listener in the loop's epoll instance. */
static bool
wakes_one_alone(int listener)
{
	char name[64], line[256];
	bool alone = false, there = false;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", house.daemon.poll_fd);
	assert_non_null(f = fopen(name, "r"));
	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned int fd, events;

		if (sscanf(line, "tfd: %u events: %x", &fd, &events) != 2 || (int)fd != listener)
			continue;
		there = true;
		alone = (events & EPOLLEXCLUSIVE) != 0;
	}
	fclose(f);
	assert_true(there);
	return alone;
}

/* Where connections are brief one process that sleeps is woken for each, not all. But who is full does not keep what
 * comes from the others. */
static void
one_that_is_not_full_is_woken_alone(void **state)
{
	static struct door_kind brief;
	int listener, fd[2];

	(void)state;
	brief = kind;
	brief.brief = true;
	event_base_free(house.daemon.base);
	house.daemon.poll_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	close(house.daemon.poll_fd);
	house.daemon.base = event_base_new();
	door_open(&house.door, &house.daemon, &brief);
	house.settings.connections = 2;
	listener = listening();
	door_listen(&house.door, SERVICE_IMAP, SPAN("a"), false, listener);
	assert_true(wakes_one_alone(listener));
	fd[0] = knock();
	assert_true(wakes_one_alone(listener));
	fd[1] = knock();
	assert_int_equal(house.count, 2);
	/* For a pause it hears nothing, then with the others. */
	assert_true(house.door.paused);
	hears(knock(), "full\r\n");
	assert_false(house.door.paused);
	assert_false(wakes_one_alone(listener));
	see_out();
	assert_true(wakes_one_alone(listener));
	close(fd[0]);
	close(fd[1]);
}

/* A loop whose epoll instance is not known: all are woken, and all is well. */
static void
without_epoll_all_are_woken(void **state)
{
	static struct door_kind brief;
	int fd;

	(void)state;
	brief = kind;
	brief.brief = true;
	house.daemon.poll_fd = -1;
	door_open(&house.door, &house.daemon, &brief);
	door_listen(&house.door, SERVICE_IMAP, SPAN("a"), false, listening());
	fd = knock();
	assert_int_equal(house.count, 1);
	close(fd);
}

static void
what_is_not_ours_is_closed(void **state)
{
	int fd = listening();

	(void)state;
	door_listen(&house.door, SERVICE_SMTP, SPAN("a"), false, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
	/* one that is not there: nothing happens */
	fd = listening();
	door_listen(&house.door, SERVICE_IMAP, SPAN("a"), false, fd);
	door_unlisten(&house.door, SERVICE_IMAP, SPAN("b"));
	door_unlisten(&house.door, SERVICE_IMAPS, SPAN("a"));
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	door_unlisten(&house.door, SERVICE_IMAP, SPAN("a"));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* --- PROXY protocol --- */

static void
go_on(void)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(house.daemon.base, EVLOOP_NONBLOCK);
}

/* The end of a connection that was closed from the other side. */
static bool
is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, WAIT_MILLISECONDS) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void
proxy_listen(const char *from)
{
	static struct span members[1];

	members[0] = span_str(from);
	house.settings.proxy_from = (struct list){ members, 1 };
	door_listen(&house.door, SERVICE_IMAP, SPAN("p"), true, listening());
}

/* The address of the header counts, for the limit too; not an octet behind the header is eaten. */
static void
proxy_restores_the_address(void **state)
{
	static const char header[] = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\nNOOP\r\n";
	char rest[16] = "";
	int client[5];

	(void)state;
	house.settings.connections = 8;
	proxy_listen("127.0.0.0/8");
	for (size_t i = 0; i < 3; i++) {
		client[i] = knock();
		assert_int_equal(house.count, i);
		/* As it pleases the network: octet by octet. */
		for (size_t n = 0; i == 0 && n < 20; n++) {
			assert_int_equal(send(client[i], header + n, 1, 0), 1);
			go_on();
		}
		send(client[i], header + (i ? 0 : 20), strlen(header) - (i ? 0 : 20), 0);
		go_on();
		assert_int_equal(house.count, i + 1);
		assert_string_equal(house.latest.ip, "192.0.2.7");
		assert_string_equal(house.latest.via, "127.0.0.1");
		assert_int_equal(recv(house.inside[i].fd, rest, sizeof(rest), 0), 6);
		assert_memory_equal(rest, "NOOP\r\n", 6);
	}
	/* The fourth of the same address, and one of another one. */
	client[3] = knock();
	send(client[3], header, strlen(header), 0);
	go_on();
	assert_int_equal(house.count, 3);
	client[4] = knock();
	send(client[4], "PROXY UNKNOWN\r\n", 15, 0);
	go_on();
	assert_int_equal(house.count, 4);
	assert_string_equal(house.latest.ip, "127.0.0.1");
	for (size_t i = 0; i < 5; i++)
		close(client[i]);
}

static void
proxy_refuses(void **state)
{
	static const char *const bad[] = { "EHLO client.example\r\n", "PROXY TCP4 1.2.3.4\r\n",
		"\r\n\r\nxxxxxxxxxxxx\n" };
	int client;

	(void)state;
	proxy_listen("127.0.0.1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		client = knock();
		send(client, bad[i], strlen(bad[i]), 0);
		go_on();
		assert_true(is_closed(client));
		close(client);
	}
	client = knock();
	close(client);
	go_on();
	assert_int_equal(house.count, 0);
	assert_int_equal(house.door.connections, 0);
}

/* Who is no proxy is not even heard. */
static void
proxy_must_be_named(void **state)
{
	int client;

	(void)state;
	proxy_listen("192.0.2.0/24");
	client = knock();
	assert_true(is_closed(client));
	close(client);
	assert_int_equal(house.door.connections, 0);
}

/* A proxy that says nothing, or dribbles, is not waited for longer than the limit. */
static void
proxy_is_waited_for(void **state)
{
	struct timeval before, now;
	int client;

	(void)state;
	proxy_listen("127.0.0.1");
	client = knock();
	send(client, "PROXY ", 6, 0);
	go_on();
	assert_int_equal(house.door.connections, 1);
	evutil_gettimeofday(&before, NULL);
	do {
		event_base_loop(house.daemon.base, EVLOOP_ONCE);
		evutil_gettimeofday(&now, NULL);
	} while (house.door.connections > 0 && now.tv_sec - before.tv_sec < 20);
	assert_int_equal(house.door.connections, 0);
	assert_true(is_closed(client));
	close(client);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(customers),
		cmocka_unit_test_setup_teardown(an_address_has_its_share, build_house, pull_down),
		cmocka_unit_test_setup_teardown(
			no_word_in_clear_where_tls_comes_first, build_house, pull_down),
		cmocka_unit_test_setup_teardown(
			the_full_house_leaves_it_to_others_first, build_house, pull_down),
		cmocka_unit_test_setup_teardown(what_is_not_ours_is_closed, build_house, pull_down),
		cmocka_unit_test_setup_teardown(one_that_is_not_full_is_woken_alone, build_house, pull_down),
		cmocka_unit_test_setup_teardown(without_epoll_all_are_woken, build_house, pull_down),
		cmocka_unit_test_setup_teardown(
			proxy_restores_the_address, build_house, pull_down),
		cmocka_unit_test_setup_teardown(proxy_refuses, build_house, pull_down),
		cmocka_unit_test_setup_teardown(proxy_must_be_named, build_house, pull_down),
		cmocka_unit_test_setup_teardown(proxy_is_waited_for, build_house, pull_down),
	};

	return cmocka_run_group_tests_name("common_door", tests, NULL, NULL);
}
