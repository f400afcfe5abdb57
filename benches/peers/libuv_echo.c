/* libuv: one buffer for all connections; what the system does not take at once is copied and queued.
 *
 * usage: libuv_echo PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER = 64 * 1024 };

struct pending {
	uv_write_t request;
	char data[];
};

static void check(int status, const char *what) {
	if (status >= 0) return;
	fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
	exit(1);
}

static void freed(uv_handle_t *handle) {
	free(handle);
}

static void finish(uv_stream_t *stream) {
	if (!uv_is_closing((uv_handle_t *)stream)) uv_close((uv_handle_t *)stream, freed);
}

static void give(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
	static char shared[BUFFER];
	(void)handle;
	(void)size;
	*buffer = uv_buf_init(shared, sizeof shared);
}

static void written(uv_write_t *request, int status) {
	if (status < 0) finish(request->handle);
	free(request);
}

static void incoming(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer) {
	if (got == 0) return;
	if (got < 0) {
		finish(stream);
		return;
	}
	uv_buf_t rest = uv_buf_init(buffer->base, got);
	int sent = uv_try_write(stream, &rest, 1); /* UV_EAGAIN, too, while something is queued */
	if (sent < 0 && sent != UV_EAGAIN) {
		finish(stream);
		return;
	}
	if (sent == got) return;
	if (sent < 0) sent = 0;
	struct pending *pending = malloc(sizeof *pending + got - sent);
	if (!pending) exit(1);
	memcpy(pending->data, buffer->base + sent, got - sent);
	rest = uv_buf_init(pending->data, got - sent);
	check(uv_write(&pending->request, stream, &rest, 1, written), "uv_write");
}

static void connected(uv_stream_t *listener, int status) {
	if (status < 0) return;
	uv_tcp_t *client = malloc(sizeof *client);
	if (!client) exit(1);
	check(uv_tcp_init(listener->loop, client), "uv_tcp_init");
	if (uv_accept(listener, (uv_stream_t *)client) < 0) {
		finish((uv_stream_t *)client);
		return;
	}
	check(uv_read_start((uv_stream_t *)client, give, incoming), "uv_read_start");
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: %s PORT\n", argv[0]);
		return 2;
	}
	struct sockaddr_in address;
	uv_tcp_t listener;
	check(uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address), "address");
	check(uv_tcp_init(uv_default_loop(), &listener), "uv_tcp_init");
	check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
	check(uv_listen((uv_stream_t *)&listener, 128, connected), "listen");
	printf("ready %s epoll\n", argv[1]);
	fflush(stdout);
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
