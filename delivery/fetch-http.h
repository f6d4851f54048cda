/*
 * fetch-http - one request of HTTP/1.1 over a socket that is connected already, by libcurl.
 *
 * libcurl resolves nothing, connects to nothing and knows no TLS here: it gets a plaintext socket, and
 * is told that this is http. It follows no redirect, keeps no cookie, reads no file, asks no proxy.
 */
#ifndef VALIJA_FETCH_HTTP_H
#define VALIJA_FETCH_HTTP_H

#include "common/text.h"
#include "fetch-url.h"

#define MOST_HTTP_HEADER 32768       /* bytes of all header lines of an answer */

struct event_base;
struct http_client;
struct http_request;

struct http_answer {
	uint16_t status;            /* 0: none; fault says why */
	struct text content_type, body;
	const char *fault;          /* static memory, or NULL */
};

/* Borrowed until the return; the request is gone then. Never called from inside http_begin(). */
typedef void http_heard(void *arg, const struct http_answer *answer);

/* One for the life of the process; makes all the descriptors that it needs for itself. NULL: no memory. */
struct http_client *http_client_new(struct event_base *base);

/* Sends a GET, or with `post` a POST of `body`, over `fd` (taken). whole: the answer counts only if it says
 * itself where it ends, so that nobody can cut it. All are borrowed; `body` and `url` until `heard`. */
struct http_request *http_begin(struct http_client *c, int fd, const struct fetch_url *url, bool post,
	struct span authorization, struct span content_type, struct span body, size_t most_bytes, bool whole, http_heard *heard, void *arg);
/* `heard` will not be called. Sets *r to NULL, accepts NULL in it. */
void http_cancel(struct http_request **r);

/* Is this the socket that libcurl was given last, which needs no connect()? Answers yes once. */
bool http_socket_connected(int fd);

#endif
