/* The load on a real Prosody: XMPP clients over direct TLS 1.3, with accounts u0, u1, … of one password.
 *
 * usage: xmpp_load storm PORT PID CLIENTS
 *            All log in at once, leave, and come back at once with their TLS tickets. Meanwhile a pair that is online
 *            already exchanges messages, one each PAIR_PERIOD.
 *        xmpp_load talk PORT PID CLIENTS ACTORS ROOM MIX SECONDS
 *            CLIENTS are online, in chat rooms of ROOM members (0: none). The first ACTORS of them do one thing after the
 *            other, as soon as the one before is answered. MIX says what, a letter each, over and over: c a message to the
 *            neighbour, who answers; i a ping of the server; p a change of presence; m a message to the room.
 *
 * Prints one line of JSON, or a reason on stderr and exits with 1.
 */
#include "load.h"
#include "tls.h"
#include "window.h"
#include "xmpp.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PAIR_PERIOD = 10, LOGIN_SECONDS = 60, QUIET_SECONDS = 20, MAX_DELAYS = 1 << 16 };

static struct session *new_sessions(int first, int count, int room) {
	struct session *sessions = calloc(count, sizeof *sessions);
	if (!sessions) die("out of memory");
	for (int i = 0; i < count; i++) {
		sessions[i].number = first + i;
		sessions[i].room = room ? i / room : -1;
	}
	return sessions;
}

/* Until all are online. How long each of them took goes into `times`, in µs. */
static void log_in(int poller, struct session *sessions, int count, uint32_t *times) {
	uint64_t until = now() + LOGIN_SECONDS * 1000000000ull;
	int online = 0;
	for (int i = 0; i < count; i++) {
		begin(&sessions[i], poller);
		if (sessions[i].state != ONLINE) continue; /* as it may be: a quick server gets the core when it is spoken to */
		if (times) times[online] = (now() - sessions[i].since) / 1000;
		online++;
	}
	while (online < count) {
		struct epoll_event events[EVENTS];
		int ready = epoll_wait(poller, events, EVENTS, 100);
		for (int i = 0; i < ready; i++) {
			struct session *session = events[i].data.ptr;
			int was_online = session->state == ONLINE;
			receive(session);
			if (was_online || session->state != ONLINE) continue;
			if (times) times[online] = (now() - session->since) / 1000;
			online++;
		}
		if (online < count && now() > until) {
			while (sessions->state == ONLINE) sessions++;
			die("%d of %d clients are not online after %d s; u%d has come to step %d%s", count - online, count, LOGIN_SECONDS,
				sessions->number, sessions->state, sessions->ticket ? ", with a ticket" : "");
		}
	}
}

/* ---- the pair, in a thread of its own: what it sees must not wait for the load ---- */

static atomic_int phase; /* 0: nothing to measure, otherwise which storm */
static atomic_int pair_online;
static uint32_t delays[3][MAX_DELAYS]; /* µs, by the phase in which the message was sent */
static atomic_int delay_count[3];

static void pair_stanza(struct session *session, const char *stanza) {
	unsigned long long sent;
	int of;
	const char *body = strstr(stanza, "<body>");
	(void)session;
	if (!body || sscanf(body, "<body>%d %llu", &of, &sent) != 2) return;
	int n = delay_count[of];
	if (n < MAX_DELAYS) delays[of][n] = (now() - sent) / 1000, delay_count[of]++;
}

static void *pair(void *first) {
	int poller = epoll_create1(0), first_number = *(int *)first;
	struct session *two = new_sessions(first_number, 2, 0);
	log_in(poller, two, 2, NULL);
	pair_online = 1;
	for (uint64_t next = now();;) {
		/* On schedule, whether the one before has come or not: a delay must not hide others. */
		uint64_t time = now();
		if (time >= next) {
			say(&two[0], "<message type='chat' to='u%d@" HOST "/bench'><body>%d %llu</body></message>", first_number + 1, phase,
				(unsigned long long)time);
			next += PAIR_PERIOD * 1000000ull;
			continue;
		}
		serve(poller, (next - time) / 1000000 + 1);
	}
	return NULL;
}

/* ---- storm ---- */

/* Until the server has dealt with all that came before: it spends less than a tenth of a core. */
static void await_quiet(void) {
	uint64_t until = now() + QUIET_SECONDS * 1000000000ull;
	for (struct usage before = sample(), after;; before = after) {
		usleep(100000);
		after = sample();
		if ((after.server - before.server) * 10 < after.wall - before.wall) return;
		if (after.wall > until) die("the server is still busy after %d s", QUIET_SECONDS);
	}
}

static void leave(struct session *sessions, int count) {
	char rest[1024];
	for (int i = 0; i < count; i++) say(&sessions[i], "</stream:stream>");
	for (int i = 0; i < count; i++) {
		int fd = SSL_get_fd(sessions[i].ssl);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		while (SSL_read(sessions[i].ssl, rest, sizeof rest) > 0) continue;
		SSL_shutdown(sessions[i].ssl);
		SSL_free(sessions[i].ssl);
		close(fd);
	}
	await_quiet();
}

static void storm_of(struct session *sessions, int count, int which, const char *name) {
	uint32_t *times = malloc(count * sizeof *times);
	int poller = epoll_create1(0), resumed = 0;
	if (!times || poller < 0) die("cannot set up: %s", strerror(errno));
	phase = which;
	struct usage from = sample();
	uint64_t own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
	log_in(poller, sessions, count, times);
	struct usage to = sample();
	own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own;
	phase = 0;
	for (int i = 0; i < count; i++) resumed += sessions[i].resumed;
	await_quiet(); /* the pair's last messages are there too */
	int told = delay_count[which];
	if (!told) die("no message of the pair came during the logins");
	qsort(times, count, sizeof *times, by_value);
	qsort(delays[which], told, sizeof **delays, by_value);
	printf("\"%s_ms\": %.1f, \"%s_p50_ms\": %.1f, \"%s_p99_ms\": %.1f, \"%s_resumed\": %d, ", name, (to.wall - from.wall) / 1e6, name,
		times[count / 2] / 1e3, name, times[count * 99 / 100] / 1e3, name, resumed);
	printf("\"%s_cpu_us\": %.0f, \"%s_loop_us\": %.0f, \"%s_load_us\": %.0f, ", name, (to.server - from.server) / 1e3 / count, name,
		(to.loop - from.loop) / 1e3 / count, name, own / 1e3 / count);
	printf("\"%s_pair\": %d, \"%s_pair_p50_ms\": %.2f, \"%s_pair_p99_ms\": %.2f, \"%s_pair_max_ms\": %.2f, ", name, told, name,
		delays[which][told / 2] / 1e3, name, delays[which][told * 99 / 100] / 1e3, name, delays[which][told - 1] / 1e3);
	free(times);
	close(poller);
}

static void storm(int count) {
	struct session *sessions = new_sessions(0, count, 0);
	pthread_t thread;
	on_stanza = pair_stanza;
	if (pthread_create(&thread, NULL, pair, &count) != 0) die("no thread");
	while (!pair_online) usleep(1000);
	await_quiet();
	double before = resident_bytes();
	printf("{");
	storm_of(sessions, count, 1, "full");
	double after = resident_bytes();
	leave(sessions, count);
	storm_of(sessions, count, 2, "again");
	printf("\"failures\": 0, \"session_bytes\": %.0f}\n", (after - before) / count);
	fflush(stdout);
	_exit(0); /* the pair talks on, and exit() would take OpenSSL from under it */
}

/* ---- talk ---- */

static struct window window;
static const char *mix;

static void act(struct session *session) {
	static const char text[] = "It is the east, and Juliet is the sun. Arise, fair sun, and kill the envious moon.";
	int me = session->number;
	session->awaited = mix[session->turn++ % strlen(mix)];
	session->since = now();
	switch (session->awaited) {
	case 'c':
		say(session, "<message type='chat' to='u%d@" HOST "/bench' id='q'><body>%s</body></message>", me ^ 1, text);
		break;
	case 'i':
		say(session, "<iq type='get' to='" HOST "' id='i'><ping xmlns='urn:xmpp:ping'/></iq>");
		break;
	case 'p':
		say(session, "<presence><show>%s</show></presence>", session->turn % 2 ? "away" : "chat");
		break;
	case 'm':
		say(session, "<message type='groupchat' to='room%d@rooms." HOST "' id='u%d.'><body>%s</body></message>", session->room, me, text);
		break;
	default:
		die("%c is nothing to do", session->awaited);
	}
}

/* Whether it is the answer to what the session did last. */
static int is_answer(struct session *session, const char *stanza) {
	char own[32];
	switch (session->awaited) {
	case 'c': return strstr(stanza, " id='a'") != NULL;
	case 'i': return !strncmp(stanza, "<iq", 3);
	case 'p': return !strncmp(stanza, "<presence", 9);
	case 'm':
		snprintf(own, sizeof own, " id='u%d.'", session->number);
		return strstr(stanza, own) != NULL;
	}
	return 0;
}

static void talk_stanza(struct session *session, const char *stanza) {
	window.count++;
	if (strstr(stanza, "type='error'")) fail(session, stanza);
	if (!strncmp(stanza, "<message", 8) && strstr(stanza, " id='q'"))
		say(session, "<message type='chat' to='u%d@" HOST "/bench' id='a'><body>Ay me!</body></message>", session->number ^ 1);
	else if (session->awaited && is_answer(session, stanza)) {
		timed(&window, session->since);
		act(session);
	}
}

static void talk(int count, int actors, int room, const char *what, double seconds) {
	struct epoll_event events[EVENTS];
	struct session *sessions = new_sessions(0, count, room);
	mix = what;
	on_stanza = talk_stanza;
	window = open_window(seconds);
	log_in(window.poller, sessions, count, NULL);
	await_quiet();
	window.last = now();
	window.begin = window.last + (uint64_t)(WARM_UP * 1e9);
	for (int i = 0; i < actors; i++) act(&sessions[i]);
	for (int ready; (ready = turn(&window, events)) >= 0;)
		for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
	print_window(&window);
}

int main(int argc, char **argv) {
	if (argc < 5) die("usage: %s SHAPE PORT PID NUMBER...", argv[0]);
	server_port = atoi(argv[2]);
	server_pid = atoi(argv[3]);
	set_up(keep_ticket);
	if (!strcmp(argv[1], "storm") && argc == 5) storm(atoi(argv[4]));
	else if (!strcmp(argv[1], "talk") && argc == 9) talk(atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), argv[7], atof(argv[8]));
	else die("unknown shape or wrong number of arguments: %s", argv[1]);
	return 0;
}
