/* The load: drives an echo server on loopback and says what that cost the server.
 *
 * Every byte that comes back is compared with what was sent.
 *
 * usage: load ping-pong PORT PID ACTIVE IDLE SECONDS
 *        load idle-crowd PORT PID CONNECTIONS
 *        load pump PORT PID SECONDS
 *        load accept PORT PID CONNECTIONS
 *        load hold PORT PID CONNECTIONS
 *
 * LOAD_SOURCE in the environment is the address that connections come from.
 *
 * Prints one line of JSON, or a reason on stderr and exits with 1.
 */
#include "load.h"

enum {
	PUMP_BLOCK = 64 * 1024,
	PUMP_WINDOW = 256 * 1024, /* sent and not yet back: bounds what the server has to buffer */
};

static void send_all(int fd, const char *data, size_t size) {
	ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
	if (sent != (ssize_t)size) die("send: %s", sent < 0 ? strerror(errno) : "short");
}

static void echo_blocking(int fd) {
	char out[MESSAGE], in[MESSAGE];
	memset(out, 'e', sizeof out);
	send_all(fd, out, sizeof out);
	ssize_t got = recv(fd, in, sizeof in, MSG_WAITALL);
	if (got != MESSAGE) die("no echo: %s", got < 0 ? strerror(errno) : "connection closed by the server");
	if (memcmp(in, out, MESSAGE) != 0) die("the echo differs from what was sent");
}

/* The accept queue is first in, first out: once a new connection is answered, all before it have been accepted. */
static void settle(void) {
	int fd = connection();
	echo_blocking(fd);
	close(fd);
}

static int *crowd(int count) {
	int *fds = calloc(count + 1, sizeof *fds);
	if (!fds) die("out of memory");
	for (int i = 0; i < count; i++) {
		fds[i] = connection();
		if ((i + 1) % CONNECT_BATCH == 0) settle();
	}
	settle();
	return fds;
}

/* ---- ping-pong: each connection sends a message, waits for all of it, sends the next ---- */

struct peer {
	int fd;
	uint32_t sequence;
	size_t got;
	uint64_t sent_at;
	char out[MESSAGE], in[MESSAGE];
};

static void ping(struct peer *peer, uint64_t at) {
	peer->sequence++;
	memcpy(peer->out, &peer->sequence, sizeof peer->sequence); /* a stale or foreign echo must not count */
	peer->got = 0;
	peer->sent_at = at;
	send_all(peer->fd, peer->out, MESSAGE);
}

static void ping_pong(int active, int idle, double seconds) {
	struct epoll_event events[EVENTS];
	struct peer *peers = calloc(active, sizeof *peers);
	uint32_t *latency = malloc(MAX_SAMPLES * sizeof *latency);
	int poller = epoll_create1(0);
	if (!peers || !latency || poller < 0) die("cannot set up: %s", strerror(errno));

	/* The active ones are spread among the idle ones, as talkers are spread in a crowd. */
	int *fds = crowd(active + idle);
	for (int i = 0; i < active; i++) {
		struct peer *peer = &peers[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };
		peer->fd = fds[(long)i * (active + idle) / active];
		memset(peer->out, 'a' + i % 26, MESSAGE);
		memcpy(peer->out + 8, &i, sizeof i);
		nonblocking(peer->fd);
		if (epoll_ctl(poller, EPOLL_CTL_ADD, peer->fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
	}

	uint64_t begin = now() + (uint64_t)(WARM_UP * 1e9), end = 0, messages = 0, last = now();
	int wait = may_sleep() ? 100 : 0;
	struct usage from = { 0 };
	for (int i = 0; i < active; i++) ping(&peers[i], now());
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, wait);
		uint64_t turn = now();
		if (!end && turn >= begin) {
			from = sample();
			end = from.wall + (uint64_t)(seconds * 1e9);
			messages = 0;
		}
		if (end && turn >= end) break;
		if (turn - last > STALL_SECONDS * 1000000000ull) die("no echo for %d s", STALL_SECONDS);
		for (int i = 0; i < ready; i++) {
			struct peer *peer = events[i].data.ptr;
			ssize_t got = recv(peer->fd, peer->in + peer->got, MESSAGE - peer->got, 0);
			if (got < 0 && errno == EAGAIN) continue;
			if (got <= 0) die("recv: %s", got < 0 ? strerror(errno) : "connection closed by the server");
			if ((peer->got += got) < MESSAGE) continue;
			if (memcmp(peer->in, peer->out, MESSAGE) != 0) die("the echo differs from what was sent");
			uint64_t at = last = now();
			if (end && messages < MAX_SAMPLES) latency[messages] = at - peer->sent_at;
			messages++;
			ping(peer, at);
		}
	}
	struct usage to = sample();
	size_t kept = messages < MAX_SAMPLES ? messages : MAX_SAMPLES;
	if (!kept) die("no message in %.1f s", seconds);
	qsort(latency, kept, sizeof *latency, by_value);
	printf("{\"messages\": %llu, \"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, ",
		(unsigned long long)messages, messages / ((to.wall - from.wall) / 1e9), latency[kept / 2] / 1e3,
		latency[kept * 99 / 100] / 1e3);
	print_usage(from, to, messages);
	printf("}\n");
}

/* ---- idle-crowd: what a connection weighs that does nothing ---- */

static void idle_crowd(int count) {
	int fd = connection(); /* touch the code and the buffers that the first messages need */
	for (int i = 0; i < 100; i++) echo_blocking(fd);
	close(fd);
	settle();
	double before = resident_bytes();
	int *fds = crowd(count);
	double silent = resident_bytes();
	for (int i = 0; i < count; i++) echo_blocking(fds[i]);
	double spoken = resident_bytes();
	printf("{\"silent_bytes\": %.0f, \"spoken_bytes\": %.0f, \"before_bytes\": %.0f}\n", (silent - before) / count,
		(spoken - before) / count, before);
}

/* ---- hold: a crowd that stays until standard input ends ---- */

static void hold(int count) {
	uint64_t begin = now();
	crowd(count);
	printf("{\"connections\": %d, \"seconds\": %.3f}\n", count, (now() - begin) / 1e9);
	fflush(stdout);
	while (getchar() != EOF) {}
}

/* ---- pump: one connection, as much as fits ---- */

static void pump(double seconds) {
	static char pattern[2 * PUMP_BLOCK], in[PUMP_BLOCK];
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	int fd = connection(), poller = epoll_create1(0), writing = 1;
	for (size_t i = 0; i < PUMP_BLOCK; i++) pattern[i] = pattern[i + PUMP_BLOCK] = (char)(i * 31 + i / 251);
	nonblocking(fd);
	if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll: %s", strerror(errno));
	uint64_t sent = 0, received = 0, mark = 0, begin = now() + (uint64_t)(WARM_UP * 1e9), end = 0;
	uint64_t last = now();
	int wait = may_sleep() ? 100 : 0;
	struct usage from = { 0 };
	for (;;) {
		int ready = epoll_wait(poller, &event, 1, wait);
		uint64_t turn = now();
		if (turn - last > STALL_SECONDS * 1000000000ull) die("nothing came back for %d s", STALL_SECONDS);
		if (!end && turn >= begin) {
			from = sample();
			end = from.wall + (uint64_t)(seconds * 1e9);
			mark = received;
		}
		if (end && turn >= end) break;
		if (ready <= 0) continue;
		ssize_t got = recv(fd, in, sizeof in, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN)) die("recv: %s", got ? strerror(errno) : "connection closed by the server");
		if (got > 0) {
			if (memcmp(in, pattern + received % PUMP_BLOCK, got) != 0) die("the stream differs at byte %llu", (unsigned long long)received);
			received += got;
			last = turn;
		}
		while (sent - received < PUMP_WINDOW) {
			size_t room = PUMP_WINDOW - (sent - received);
			ssize_t put = send(fd, pattern + sent % PUMP_BLOCK, room < PUMP_BLOCK ? room : PUMP_BLOCK, MSG_NOSIGNAL);
			if (put < 0 && errno == EAGAIN) break;
			if (put < 0) die("send: %s", strerror(errno));
			sent += put;
		}
		int wanted = sent - received < PUMP_WINDOW;
		if (wanted != writing) {
			event.events = EPOLLIN | (wanted ? EPOLLOUT : 0);
			epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
			writing = wanted;
		}
	}
	struct usage to = sample();
	double megabytes = (received - mark) / 1e6;
	if (megabytes <= 0) die("nothing came back");
	printf("{\"megabytes\": %.1f, \"per_second\": %.1f, ", megabytes, megabytes / ((to.wall - from.wall) / 1e9));
	print_usage(from, to, megabytes);
	printf("}\n");
}

/* ---- accept: connect and close, nothing said ---- */

static void burst(int count) {
	int fds[CONNECT_BATCH];
	for (int i = 0; i < CONNECT_BATCH; i++) settle();
	struct usage from = sample();
	int done = 0;
	while (done < count) {
		for (int i = 0; i < CONNECT_BATCH; i++) fds[i] = connection();
		for (int i = 0; i < CONNECT_BATCH; i++) close(fds[i]);
		settle();
		done += CONNECT_BATCH + 1;
	}
	settle(); /* a second one: the ends of the last batch are behind it */
	struct usage to = sample();
	printf("{\"connections\": %d, ", done);
	print_usage(from, to, done);
	printf("}\n");
}

int main(int argc, char **argv) {
	if (argc < 5) die("usage: %s SHAPE PORT PID NUMBER...", argv[0]);
	const char *shape = argv[1];
	server_port = atoi(argv[2]);
	server_pid = atoi(argv[3]);
	if (!strcmp(shape, "ping-pong") && argc == 7) ping_pong(atoi(argv[4]), atoi(argv[5]), atof(argv[6]));
	else if (!strcmp(shape, "idle-crowd") && argc == 5) idle_crowd(atoi(argv[4]));
	else if (!strcmp(shape, "hold") && argc == 5) hold(atoi(argv[4]));
	else if (!strcmp(shape, "pump") && argc == 5) pump(atof(argv[4]));
	else if (!strcmp(shape, "accept") && argc == 5) burst(atoi(argv[4]));
	else die("unknown shape or wrong number of arguments: %s", shape);
	return 0;
}
