/*
 * own-address - addresses that DNS may name, and to which nothing that comes from there may make us connect.
 */
#ifndef VALIJA_OWN_ADDRESS_H
#define VALIJA_OWN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* 127.0.0.0/8, ::1, and the first inside IPv6. */
bool address_is_loopback(const struct sockaddr_storage *a);
/* Unspecified, multicast, reserved; also inside IPv6, behind NAT64 (RFC 6052) and by 6to4 (RFC 3056). */
bool address_is_nobodys(const struct sockaddr_storage *a);
/* Of a network that the Internet does not reach: RFC 1918, shared (RFC 6598), for providers and benchmarks (RFC 6890), link-local,
 * unique local (RFC 4193), site-local, behind a local NAT64 (RFC 8215); also inside IPv6 as above. */
bool address_is_private(const struct sockaddr_storage *a);
/* One of this machine's own. Asks the kernel; no packet leaves for it. */
bool address_is_ours(const struct sockaddr_storage *a);
/* "192.0.2.1", "2001:db8::1"; empty when it is of neither family. */
void address_text(const struct sockaddr_storage *a, char *to, size_t room);

#endif
