/* Connections, and the server's costs.
 *
 * The costs are read from the server's process and at the edges of the measured window, so nothing of its start, of the
 * connecting, or of the harness is in them: CPU time from the process's CPU clock (nanoseconds, all threads, user and
 * kernel), memory from smaps_rollup.
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
	CONNECT_BATCH = 64,     /* below the stock backlog of 128: an overflow costs a second of SYN retransmission */
	MAX_SAMPLES = 16 << 20, /* latencies kept */
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
	uint64_t loop;         /* ns of it in the server's main thread, where Lua runs: exact to a tick of the scheduler */
	uint64_t waited;       /* ns the server's main thread was runnable while another process had its core */
};

/* The server's process and those that it has started, as nginx does: at most `room` of them. */
static int processes(pid_t *all, int room) {
	char path[64];
	int count = 1;
	all[0] = server_pid;
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server_pid, (int)server_pid);
	FILE *file = fopen(path, "r");
	while (file && count < room && fscanf(file, "%d", &all[count]) == 1) count++;
	if (file) fclose(file);
	return count;
}

static struct usage sample(void) {
	struct usage usage = { 0 };
	clockid_t clock;
	char path[64];
	pid_t all[16];
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)server_pid);
	FILE *file = fopen(path, "r"); /* absent in kernels without CONFIG_SCHED_INFO: then 0 */
	if (file) {
		unsigned long long ran, waited;
		if (fscanf(file, "%llu %llu", &ran, &waited) == 2) usage.loop = ran, usage.waited = waited;
		fclose(file);
	}
	int count = processes(all, sizeof all / sizeof *all);
	usage.wall = now();
	for (int i = 0; i < count; i++) {
		if (clock_getcpuclockid(all[i], &clock) != 0) die("the server is gone");
		usage.server += nanoseconds(clock);
	}
	return usage;
}

/* `count`: of what the server has done in between, to be charged with it. */
static void print_usage(struct usage from, struct usage to, double count) {
	double wall = to.wall - from.wall;
	printf("\"cpu_us\": %.4f, \"loop_us\": %.4f, ", (to.server - from.server) / 1e3 / count, (to.loop - from.loop) / 1e3 / count);
	printf("\"seconds\": %.3f, \"server_busy\": %.3f, \"server_waited\": %.3f", wall / 1e9,
		(to.server - from.server) / wall, (to.waited - from.waited) / wall);
}

static double resident_bytes(void) {
	char path[64], line[256];
	pid_t all[16];
	double sum = 0;
	for (int i = processes(all, sizeof all / sizeof *all); i-- > 0;) {
		long kilobytes = -1;
		snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)all[i]);
		FILE *file = fopen(path, "r"); /* exact, where statm is off by what each core has not yet added up */
		if (!file) die("%s: %s", path, strerror(errno));
		while (fgets(line, sizeof line, file))
			if (sscanf(line, "Rss: %ld", &kilobytes) == 1) break;
		fclose(file);
		if (kilobytes < 0) die("%s: no Rss", path);
		sum += kilobytes * 1024.0;
	}
	return sum;
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
	const char *from = getenv("LOAD_SOURCE"); /* one address has ports for 28 000 connections */
	struct sockaddr_in source = { .sin_family = AF_INET };
	if (from && (inet_pton(AF_INET, from, &source.sin_addr) != 1 || bind(fd, (struct sockaddr *)&source, sizeof source) < 0))
		die("bind to %s: %s", from, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect: %s", strerror(errno));
	return fd;
}

static void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

/* ---- latencies ---- */

static int by_value(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}
