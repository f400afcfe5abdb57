/* The load over TLS 1.3 on connections that stay, by OpenSSL; that of handshakes is benches/handshakes. What is measured is the
 * server, so all clients offer the same: X25519 and AES-256-GCM, OpenSSL's own first choices; with anything else there is no
 * handshake. The chain is not checked, the certificates sign themselves.
 *
 * usage: tls_load ping-pong PORT PID CONNECTIONS SECONDS
 *        tls_load idle-crowd PORT PID CONNECTIONS
 *        tls_load pump PORT PID STREAMS SECONDS       each has a stream echoed, PUMP_WINDOW bytes of it on the way at most
 *
 * Prints one line of JSON, or a reason on stderr and exits with 1.
 */
#include "load.h"
#include "tls.h"
#include "window.h"

struct client {
	SSL *ssl;
	uint32_t sequence;
	int got;
	uint64_t since;
	char out[MESSAGE], in[MESSAGE];
};

static void failed(SSL *ssl, int result, const char *what) {
	int kind = SSL_get_error(ssl, result), error = errno;
	unsigned long code = ERR_peek_error();
	if (kind == SSL_ERROR_ZERO_RETURN) die("%s: closed by the server", what);
	if (code) die("%s: %s", what, ERR_reason_error_string(code));
	die("%s: %s", what, kind == SSL_ERROR_SYSCALL && error ? strerror(error) : "no answer");
}

/* Messages are small and the peer reads: what cannot be sent at once is a fault, not a reason to wait. */
static void send_message(SSL *ssl, const char *data) {
	int sent = SSL_write(ssl, data, MESSAGE);
	if (sent != MESSAGE) failed(ssl, sent, "send");
}

static void make_message(struct client *client) {
	client->sequence++;
	memcpy(client->out, &client->sequence, sizeof client->sequence); /* a stale or foreign echo must not count */
	client->got = 0;
}

/* Reads what there is of the echo; whether it is complete. */
static int echoed(struct client *client) {
	int got = SSL_read(client->ssl, client->in + client->got, MESSAGE - client->got);
	if (got <= 0) {
		if (SSL_get_error(client->ssl, got) == SSL_ERROR_WANT_READ) return 0;
		failed(client->ssl, got, "receive");
	}
	if ((client->got += got) < MESSAGE) return 0;
	if (memcmp(client->in, client->out, MESSAGE) != 0) die("the echo differs from what was sent");
	return 1;
}

static void discard(SSL *ssl) {
	int fd = SSL_get_fd(ssl);
	SSL_free(ssl);
	close(fd);
}

/* ---- connections, made one after the other ---- */

static SSL *established(void) {
	SSL *ssl = SSL_new(context);
	if (!ssl || !SSL_set_fd(ssl, connection()) || !SSL_set_tlsext_host_name(ssl, "localhost")) die("cannot set up a connection");
	int result = SSL_connect(ssl);
	if (result != 1) failed(ssl, result, "handshake");
	return ssl;
}

static void echo_blocking(SSL *ssl) {
	struct client client = { .ssl = ssl };
	make_message(&client);
	send_message(ssl, client.out);
	for (errno = 0; !echoed(&client); errno = 0)
		if (errno == EAGAIN) die("no echo for %d s", STALL_SECONDS);
}

/* The accept queue is first in, first out: once a new connection is answered, all before it have been served. */
static void settle(void) {
	SSL *ssl = established();
	echo_blocking(ssl);
	SSL_shutdown(ssl);
	discard(ssl);
}

static SSL **crowd(int count) {
	SSL **all = calloc(count, sizeof *all);
	if (!all) die("out of memory");
	for (int i = 0; i < count; i++) {
		all[i] = established();
		if ((i + 1) % CONNECT_BATCH == 0) settle();
	}
	settle();
	return all;
}

static void idle_crowd(int count) {
	SSL *first = established(); /* touch the code and the buffers that the first messages need */
	for (int i = 0; i < 100; i++) echo_blocking(first);
	SSL_shutdown(first);
	discard(first);
	settle();
	double before = resident_bytes();
	SSL **all = crowd(count);
	double silent = resident_bytes();
	for (int i = 0; i < count; i++) echo_blocking(all[i]);
	double spoken = resident_bytes();
	printf("{\"silent_bytes\": %.0f, \"spoken_bytes\": %.0f, \"before_bytes\": %.0f}\n", (silent - before) / count,
		(spoken - before) / count, before);
}

/* ---- ping-pong: each connection sends a message, waits for all of it, sends the next ---- */

static void ping(struct client *client) {
	make_message(client);
	client->since = now();
	send_message(client->ssl, client->out);
}

static void ping_pong(int count, double seconds) {
	struct epoll_event events[EVENTS];
	struct client *clients = calloc(count, sizeof *clients);
	SSL **all = crowd(count);
	if (!clients) die("out of memory");
	struct window window = open_window(seconds);
	for (int i = 0; i < count; i++) {
		clients[i].ssl = all[i];
		memset(clients[i].out, 'a' + i % 26, MESSAGE);
		memcpy(clients[i].out + 8, &i, sizeof i);
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &clients[i] };
		nonblocking(SSL_get_fd(all[i]));
		if (epoll_ctl(window.poller, EPOLL_CTL_ADD, SSL_get_fd(all[i]), &event) < 0) die("epoll_ctl: %s", strerror(errno));
		ping(&clients[i]);
	}
	for (int ready; (ready = turn(&window, events)) >= 0;)
		for (int i = 0; i < ready; i++) {
			struct client *client = events[i].data.ptr;
			if (!echoed(client)) continue;
			timed(&window, client->since);
			window.count++;
			ping(client);
		}
	print_window(&window);
}

/* ---- pump: streams, as much as fits ---- */

enum { PUMP_BLOCK = 64 * 1024, PUMP_WINDOW = 256 * 1024 };

struct stream {
	SSL *ssl;
	uint64_t sent, received;
};

/* As far as it gets without waiting, for the poller tells of a change only. What came back, in bytes. */
static uint64_t pumped(struct stream *stream, const char *pattern) {
	static char in[PUMP_BLOCK];
	uint64_t before = stream->received;
	for (;;) {
		int got = SSL_read(stream->ssl, in, sizeof in), put = -1;
		if (got > 0) {
			if (memcmp(in, pattern + stream->received % PUMP_BLOCK, got) != 0) die("the stream differs at byte %llu", (unsigned long long)stream->received);
			stream->received += got;
		} else if (SSL_get_error(stream->ssl, got) != SSL_ERROR_WANT_READ) failed(stream->ssl, got, "receive");
		uint64_t room = PUMP_WINDOW - (stream->sent - stream->received);
		if (room > PUMP_BLOCK) room = PUMP_BLOCK;
		if (room) {
			put = SSL_write(stream->ssl, pattern + stream->sent % PUMP_BLOCK, room);
			if (put > 0) stream->sent += put;
			else if (SSL_get_error(stream->ssl, put) != SSL_ERROR_WANT_WRITE) failed(stream->ssl, put, "send");
		}
		if (got <= 0 && put <= 0) return stream->received - before;
	}
}

static void pump(int count, double seconds) {
	static char pattern[2 * PUMP_BLOCK];
	struct epoll_event events[EVENTS];
	struct stream *streams = calloc(count, sizeof *streams);
	SSL **all = crowd(count);
	if (!streams) die("out of memory");
	for (size_t i = 0; i < PUMP_BLOCK; i++) pattern[i] = pattern[i + PUMP_BLOCK] = (char)(i * 31 + i / 251);
	struct window window = open_window(seconds);
	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &streams[i] };
		streams[i].ssl = all[i];
		SSL_set_mode(all[i], SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		nonblocking(SSL_get_fd(all[i]));
		if (epoll_ctl(window.poller, EPOLL_CTL_ADD, SSL_get_fd(all[i]), &event) < 0) die("epoll_ctl: %s", strerror(errno));
	}
	for (int ready; (ready = turn(&window, events)) >= 0;)
		for (int i = 0; i < ready; i++) {
			window.count += pumped(events[i].data.ptr, pattern);
			window.last = now();
		}
	double megabytes = window.count / 1e6;
	if (megabytes <= 0) die("nothing came back");
	printf("{\"megabytes\": %.1f, \"per_second\": %.1f, ", megabytes, megabytes / ((window.to.wall - window.from.wall) / 1e9));
	print_usage(window.from, window.to, megabytes);
	printf("}\n");
}

int main(int argc, char **argv) {
	if (argc < 5) die("usage: %s SHAPE PORT PID NUMBER...", argv[0]);
	const char *shape = argv[1];
	server_port = atoi(argv[2]);
	server_pid = atoi(argv[3]);
	set_up(NULL);
	if (!strcmp(shape, "ping-pong") && argc == 6) ping_pong(atoi(argv[4]), atof(argv[5]));
	else if (!strcmp(shape, "pump") && argc == 6) pump(atoi(argv[4]), atof(argv[5]));
	else if (!strcmp(shape, "idle-crowd") && argc == 5) idle_crowd(atoi(argv[4]));
	else die("unknown shape or wrong number of arguments: %s", shape);
	return 0;
}
