/* fetch-http - see fetch-http.h. */
#include "fetch-http.h"

#include "common/message.h"
#include "common/secret.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct http_client {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
};

struct http_request {
	struct http_client *client;
	CURL *easy;
	struct curl_slist *fields;
	int fd;                         /* -1: libcurl has it */
	char url[MOST_URL + 64];
	char error[CURL_ERROR_SIZE];
	struct http_answer answer;
	size_t header;                  /* bytes so far */
	bool whole, chunked, length_seen;
	http_heard *heard;
	void *arg;
};

/* --- what libcurl asks of us --- */

static int connected = -1;              /* what was handed to libcurl last */

bool
http_socket_connected(int fd)
{
	bool it_is = fd >= 0 && fd == connected;

	if (it_is)
		connected = -1;
	return it_is;
}

static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_request *r = arg;
	int fd = r->fd;

	(void)purpose;
	(void)address;
	r->fd = -1;
	connected = fd;
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int
on_socket_made(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)arg;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static size_t
on_header(char *line, size_t one, size_t len, void *arg)
{
	static const char too_long[] = "the header of the answer is too long";
	struct http_request *r = arg;
	struct span field = span_of(line, len), name;

	(void)one;
	r->header += len;
	if (r->header > MOST_HTTP_HEADER) {
		r->answer.fault = too_long;
		return 0;
	}
	if (span_starts_nocase(field, SPAN("HTTP/"))) {
		/* What a "100 Continue" said does not count. */
		text_reset(&r->answer.content_type);
		r->chunked = r->length_seen = false;
		return len;
	}
	if (!span_take_until(&field, ':', &name))
		return len;
	while (field.len > 0 && (field.at[field.len - 1] == '\r' || field.at[field.len - 1] == '\n'))
		field.len--;
	field = span_trim(field);
	if (span_equal_nocase(name, SPAN("Content-Type")) && span_is_printable(field)) {
		text_reset(&r->answer.content_type);
		text_add(&r->answer.content_type, field);
	} else if (span_equal_nocase(name, SPAN("Content-Length"))) {
		/* Two of them (RFC 9112 6.3): libcurl would believe the last. */
		if (r->length_seen) {
			r->answer.fault = "the answer has two lengths";
			return 0;
		}
		r->length_seen = true;
	} else if (span_equal_nocase(name, SPAN("Transfer-Encoding"))) {
		r->chunked = span_equal_nocase(field, SPAN("chunked"));
	}
	return len;
}

static size_t
on_body(char *at, size_t one, size_t len, void *arg)
{
	struct http_request *r = arg;

	(void)one;
	text_add(&r->answer.body, span_of(at, len));
	if (!r->answer.body.failed)
		return len;
	r->answer.fault = "the answer is too long";
	return 0;
}

/* --- the end of a request --- */

void
http_cancel(struct http_request **request)
{
	struct http_request *r = *request;

	if (r == NULL)
		return;
	*request = NULL;
	curl_multi_remove_handle(r->client->multi, r->easy);
	curl_easy_cleanup(r->easy);
	for (struct curl_slist *f = r->fields; f != NULL; f = f->next)
		secret_wipe(f->data, strlen(f->data));
	curl_slist_free_all(r->fields);
	if (r->fd >= 0)
		close(r->fd);
	text_clear(&r->answer.body);
	text_clear(&r->answer.content_type);
	free(r);
}

static const char *
fault_of(const struct http_request *r, CURLcode code)
{
	switch (code) {
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return "the server closed the connection without an answer";
	case CURLE_PARTIAL_FILE:
		return "the answer is cut off";
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_HTTP2:
		return "what the server answers is not HTTP";
	default:
		return r->answer.fault != NULL ? r->answer.fault : curl_easy_strerror(code);
	}
}

static void
finish(struct http_request *r, CURLcode code)
{
	curl_off_t length = -1;
	long status = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (code != CURLE_OK)
		r->answer.fault = fault_of(r, code);
	else if (status < 200 || status > 599)
		r->answer.fault = "what the server answers is not HTTP";
	else if (r->whole && length < 0 && !r->chunked && r->answer.body.len > 0)
		r->answer.fault = "the answer does not say where it ends";
	else
		r->answer.status = (uint16_t)status;
	r->heard(r->arg, &r->answer);
	http_cancel(&r);
}

static void
take_finished(struct http_client *c)
{
	struct http_request *r;
	CURLMsg *m;
	CURLcode code;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		code = m->data.result;
		if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r) == CURLE_OK)
			finish(r, code);
	}
}

/* --- libcurl in our loop --- */

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *c = arg;
	int running;

	curl_multi_socket_action(c->multi, fd, ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
		((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0), &running);
	take_finished(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *c = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished(c);
}

static int
on_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *old)
{
	struct http_client *c = arg;
	struct event *event = old;
	short events = EV_PERSIST;

	(void)easy;
	if (event != NULL)
		event_free(event);
	event = NULL;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EV_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EV_WRITE;
	if (what != CURL_POLL_REMOVE) {
		event = event_new(c->base, fd, events, on_ready, c);
		if (event == NULL)
			abort();
		event_add(event, NULL);
	}
	curl_multi_assign(c->multi, fd, event);
	return 0;
}

static int
on_clock(CURLM *multi, long milliseconds, void *arg)
{
	struct http_client *c = arg;
	struct timeval wait = { .tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000 };

	(void)multi;
	if (milliseconds < 0)
		evtimer_del(c->timer);
	else
		evtimer_add(c->timer, &wait);
	return 0;
}

struct http_client *
http_client_new(struct event_base *base)
{
	struct http_client *c = must_alloc(sizeof(*c));

	c->base = base;
	/* No TLS, nothing but what all of libcurl needs. */
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK ||
		(c->multi = curl_multi_init()) == NULL ||
		(c->timer = evtimer_new(base, on_timer, c)) == NULL) {
		free(c);
		return NULL;
	}
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_clock);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	return c;
}

/* --- a request --- */

static void
add_field(struct http_request *r, const char *name, struct span value)
{
	struct text field = TEXT_UP_TO(MOST_URL + 64);

	text_printf(&field, "%s: %.*s", name, SPAN_ARG(value));
	r->fields = curl_slist_append(r->fields, text_str(&field));
	text_wipe(&field);
	if (r->fields == NULL)
		abort();
}

static void
limit_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP);
#endif
}

static void
set_options(struct http_request *r, const struct fetch_url *url, bool post, struct span content_type,
	struct span body)
{
	CURL *easy = r->easy;

	limit_protocols(easy);
	curl_easy_setopt(easy, CURLOPT_URL, r->url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");           /* none, whatever the environment says */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, r);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "valija");
	add_field(r, "Host", url->authority);
	if (post) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)body.len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.at != NULL ? (const char *)body.at : "");
		add_field(r, "Content-Type", content_type);
		add_field(r, "Expect", SPAN("")); /* the body is small: no "100 Continue" is waited for */
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->fields);
}

struct http_request *
http_begin(struct http_client *c, int fd, const struct fetch_url *url, bool post,
	struct span authorization, struct span content_type, struct span body, size_t most_bytes, bool whole, http_heard *heard, void *arg)
{
	struct http_request *r = must_alloc(sizeof(*r));
	struct text text = TEXT_UP_TO(sizeof(r->url) - 1);

	r->client = c;
	r->fd = fd;
	r->whole = whole;
	r->heard = heard;
	r->arg = arg;
	r->answer.content_type = TEXT_UP_TO(MOST_CONTENT_TYPE);
	r->answer.body = TEXT_UP_TO(most_bytes);
	r->easy = curl_easy_init();
	if (r->easy == NULL)
		abort();
	/* An address for the host, so that there is nothing to resolve; the Host field has the name. */
	text_printf(&text, "http://127.0.0.1%s%.*s", url->target.len > 0 && url->target.at[0] == '/' ? "" : "/",
		SPAN_ARG(url->target));
	(void)span_copy(text_span(&text), r->url, sizeof(r->url));
	text_clear(&text);
	set_options(r, url, post, content_type, body);
	if (authorization.len > 0) {
		add_field(r, "Authorization", authorization);
		curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->fields);
	}
	if (curl_multi_add_handle(c->multi, r->easy) != CURLM_OK)
		abort();
	return r;
}
