/* The floor: what an echo costs when nothing but the kernel is in the way.
 *
 * One thread, level-triggered epoll, recv, send straight back; no timeouts, no buffers, no callbacks. A network backend
 * does more than this for each message, so its distance from this loop is the price of what it does more.
 *
 * usage: epoll_echo PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER = 64 * 1024 };

static void die(const char *what) {
	perror(what);
	exit(1);
}

static int listen_on(int port) {
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0) die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
	if (listen(fd, 128) < 0) die("listen"); /* the backlog of the stock backends */
	return fd;
}

static void watch(int poller, int fd) {
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

/* Returns 0 when the connection is finished. */
static int echo(int fd) {
	static char buffer[BUFFER];
	ssize_t got = recv(fd, buffer, sizeof buffer, 0);
	if (got < 0) return errno == EAGAIN || errno == EINTR;
	for (ssize_t done = 0; done < got;) {
		ssize_t sent = send(fd, buffer + done, got - done, MSG_NOSIGNAL);
		if (sent >= 0) {
			done += sent;
		} else if (errno == EAGAIN) {
			/* Keeping what did not fit would need a buffer; the load always reads on, so waiting is enough. */
			struct pollfd writable = { .fd = fd, .events = POLLOUT };
			poll(&writable, 1, -1);
		} else {
			return 0;
		}
	}
	return got > 0;
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: %s PORT\n", argv[0]);
		return 2;
	}
	struct epoll_event events[EVENTS];
	int listener = listen_on(atoi(argv[1]));
	int poller = epoll_create1(0);
	if (poller < 0) die("epoll_create1");
	watch(poller, listener);
	printf("ready %s epoll\n", argv[1]);
	fflush(stdout);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			if (fd != listener) {
				if (!echo(fd)) close(fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) watch(poller, fd);
		}
	}
}
