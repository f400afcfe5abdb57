/* The load: drives an echo server on loopback and says what that cost the server.
 *
 * The costs are read from the server's process and at the edges of the measured window, so nothing of its start, of the
 * connecting, or of the harness is in them: CPU time from the process's CPU clock (nanoseconds, all threads, user and
 * kernel), memory from smaps_rollup. Every byte that comes back is compared with what was sent.
 *
 * usage: load ping-pong PORT PID ACTIVE IDLE SECONDS
 *        load idle-crowd PORT PID CONNECTIONS
 *        load pump PORT PID SECONDS
 *        load accept PORT PID CONNECTIONS
 *
 * Prints one line of JSON, or a reason on stderr and exits with 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MESSAGE = 256,
	EVENTS = 512,
	CONNECT_BATCH = 64,       /* below the stock backlog of 128: an overflow costs a second of SYN retransmission */
	MAX_SAMPLES = 16 << 20,   /* latencies kept */
	PUMP_BLOCK = 64 * 1024,
	PUMP_WINDOW = 256 * 1024, /* sent and not yet back: bounds what the server has to buffer */
	STALL_SECONDS = 10,
};
static const double WARM_UP = 0.3;

static int server_port;
static pid_t server_pid;

static void die(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
	struct timespec t;
	if (clock_gettime(clock, &t) < 0) die("the server is gone: %s", strerror(errno));
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t now(void) { return nanoseconds(CLOCK_MONOTONIC); }

/* ---- what the server spends ---- */

struct usage {
	uint64_t wall, server; /* ns: of the clock, of the server's CPU time */
	uint64_t waited;       /* ns the server's main thread was runnable while another process had its core */
};

static struct usage sample(void) {
	struct usage usage = { 0 };
	clockid_t clock;
	char path[64];
	if (clock_getcpuclockid(server_pid, &clock) != 0) die("the server is gone");
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)server_pid);
	FILE *file = fopen(path, "r"); /* absent in kernels without CONFIG_SCHED_INFO: then 0 */
	if (file) {
		unsigned long long ran, waited;
		if (fscanf(file, "%llu %llu", &ran, &waited) == 2) usage.waited = waited;
		fclose(file);
	}
	usage.wall = now();
	usage.server = nanoseconds(clock);
	return usage;
}

static void print_usage(struct usage from, struct usage to) {
	double wall = to.wall - from.wall;
	printf("\"seconds\": %.3f, \"server_busy\": %.3f, \"server_waited\": %.3f", wall / 1e9,
		(to.server - from.server) / wall, (to.waited - from.waited) / wall);
}

static double resident_bytes(void) {
	char path[64], line[256];
	long kilobytes = -1;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)server_pid);
	FILE *file = fopen(path, "r"); /* exact, where statm is off by what each core has not yet added up */
	if (!file) die("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "Rss: %ld", &kilobytes) == 1) break;
	fclose(file);
	if (kilobytes < 0) die("%s: no Rss", path);
	return kilobytes * 1024.0;
}

/* Whoever wakes a sleeping process pays for it, in a virtual machine more than for the message. A load that slept would
 * put that on the server's bill, and most on that of the slowest server, for which it waits longest. On a core of its
 * own it never sleeps; on a shared core it must, or the server would not run. */
static int may_sleep(void) {
	cpu_set_t own, servers, both;
	if (sched_getaffinity(0, sizeof own, &own) < 0 || sched_getaffinity(server_pid, sizeof servers, &servers) < 0) return 1;
	CPU_AND(&both, &own, &servers);
	return CPU_COUNT(&both) > 0;
}

/* ---- connections ---- */

static int connection(void) {
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(server_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = STALL_SECONDS };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0) die("socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect: %s", strerror(errno));
	return fd;
}

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

static void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

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

static int by_value(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
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
	printf("{\"messages\": %llu, \"per_second\": %.0f, \"cpu_us\": %.4f, \"p50_us\": %.1f, \"p99_us\": %.1f, ",
		(unsigned long long)messages, messages / ((to.wall - from.wall) / 1e9),
		(to.server - from.server) / 1e3 / messages, latency[kept / 2] / 1e3, latency[kept * 99 / 100] / 1e3);
	print_usage(from, to);
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
	printf("{\"megabytes\": %.1f, \"per_second\": %.1f, \"cpu_us\": %.4f, ", megabytes,
		megabytes / ((to.wall - from.wall) / 1e9), (to.server - from.server) / 1e3 / megabytes);
	print_usage(from, to);
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
	printf("{\"connections\": %d, \"cpu_us\": %.4f, ", done, (to.server - from.server) / 1e3 / done);
	print_usage(from, to);
	printf("}\n");
}

int main(int argc, char **argv) {
	if (argc < 5) die("usage: %s SHAPE PORT PID NUMBER...", argv[0]);
	const char *shape = argv[1];
	server_port = atoi(argv[2]);
	server_pid = atoi(argv[3]);
	if (!strcmp(shape, "ping-pong") && argc == 7) ping_pong(atoi(argv[4]), atoi(argv[5]), atof(argv[6]));
	else if (!strcmp(shape, "idle-crowd") && argc == 5) idle_crowd(atoi(argv[4]));
	else if (!strcmp(shape, "pump") && argc == 5) pump(atof(argv[4]));
	else if (!strcmp(shape, "accept") && argc == 5) burst(atoi(argv[4]));
	else die("unknown shape or wrong number of arguments: %s", shape);
	return 0;
}
