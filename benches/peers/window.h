/* The window of a load whose clients do the same over and over: so many seconds after the warm-up, and what was done in them. */

struct window {
	int poller, wait;
	uint64_t begin, end, last; /* ns; end is 0 during the warm-up */
	double seconds;
	struct usage from, to;
	uint64_t count; /* of what is paid for, by which the costs are divided */
	uint64_t times; /* of what is timed, which may be less */
	uint32_t *latency;
};

static struct window open_window(double seconds) {
	struct window window = { .poller = epoll_create1(0), .wait = may_sleep() ? 100 : 0, .seconds = seconds };
	window.latency = malloc(MAX_SAMPLES * sizeof *window.latency);
	if (!window.latency || window.poller < 0) die("cannot set up: %s", strerror(errno));
	window.last = now();
	window.begin = window.last + (uint64_t)(WARM_UP * 1e9);
	return window;
}

/* How many have something to read; -1 after the window. */
static int turn(struct window *window, struct epoll_event *events) {
	int ready = epoll_wait(window->poller, events, EVENTS, window->wait);
	uint64_t time = now();
	if (!window->end && time >= window->begin) {
		window->from = sample();
		window->end = window->from.wall + (uint64_t)(window->seconds * 1e9);
		window->count = window->times = 0;
	}
	if (window->end && time >= window->end) {
		window->to = sample();
		return -1;
	}
	if (time - window->last > STALL_SECONDS * 1000000000ull) die("no answer for %d s", STALL_SECONDS);
	return ready < 0 ? 0 : ready;
}

static void timed(struct window *window, uint64_t since) {
	window->last = now();
	if (window->end && window->times < MAX_SAMPLES) window->latency[window->times++] = window->last - since;
}

static void print_window(struct window *window) {
	size_t kept = window->times;
	if (!kept) die("nothing done in %.1f s", window->seconds);
	qsort(window->latency, kept, sizeof *window->latency, by_value);
	double wall = window->to.wall - window->from.wall;
	printf("{\"count\": %llu, \"per_second\": %.0f, \"wall_us\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, ",
		(unsigned long long)window->count, window->count / (wall / 1e9), wall / 1e3 / window->count,
		window->latency[kept / 2] / 1e3, window->latency[kept * 99 / 100] / 1e3);
	print_usage(window->from, window->to, window->count);
	printf("}\n");
}
