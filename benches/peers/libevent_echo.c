/* libevent, as its own examples have it: buffered events, and what has come in is moved, not copied, to what goes out.
 *
 * usage: libevent_echo PORT
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void incoming(struct bufferevent *connection, void *unused) {
	(void)unused;
	evbuffer_add_buffer(bufferevent_get_output(connection), bufferevent_get_input(connection));
}

static void ended(struct bufferevent *connection, short what, void *unused) {
	(void)unused;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(connection);
}

static void connected(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int size, void *unused) {
	(void)peer;
	(void)size;
	(void)unused;
	struct bufferevent *connection = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!connection) exit(1);
	bufferevent_setcb(connection, incoming, NULL, ended, NULL);
	bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: %s PORT\n", argv[0]);
		return 2;
	}
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct event_base *base = event_base_new();
	if (!base || !evconnlistener_new_bind(base, connected, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 128,
			(struct sockaddr *)&address, sizeof address)) {
		perror("listen");
		return 1;
	}
	printf("ready %s %s\n", argv[1], event_base_get_method(base));
	fflush(stdout);
	return event_base_dispatch(base) != 0;
}
