/* An XMPP client session over direct TLS 1.3: SCRAM-SHA-1, bind, roster, presence, and if wanted a room. Any answer that is
 * not the expected one ends the program: a run in which a login fails is no measurement. */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define HOST "localhost"
#define PASSWORD "secret"

enum { STANZAS = 20 * 1024, DIGEST = 20 };

struct session {
	SSL *ssl;
	SSL_SESSION *ticket; /* the newest, which the next connection resumes */
	enum { HANDSHAKE, FEATURES, CHALLENGE, SUCCESS, FEATURES_AGAIN, BIND, ROSTER, PRESENCE, JOIN, ONLINE } state;
	int number; /* of the account and of the room's nickname: u0, u1, … */
	int room;   /* -1: none */
	int resumed;
	uint64_t since;
	char first[64], verifier[64]; /* of SCRAM: client-first-message-bare, and what the server has to prove itself with */
	int held;
	char in[STANZAS + 1];
	/* of a talker */
	int turn;
	char awaited;
};

/* Deals with a stanza of a session that is online. */
static void (*on_stanza)(struct session *session, const char *stanza);

static int keep_ticket(SSL *ssl, SSL_SESSION *ticket) {
	struct session *session = SSL_get_app_data(ssl);
	SSL_SESSION_free(session->ticket);
	session->ticket = ticket;
	return 1; /* the reference is ours */
}

static void fail(struct session *session, const char *why) {
	die("u%d, step %d of the login: %s", session->number, session->state, why);
}

/* What is said is short, and the server reads: what cannot be sent at once is a fault, not a reason to wait. */
__attribute__((format(printf, 2, 3))) static void say(struct session *session, const char *format, ...) {
	char out[1024];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(out, sizeof out, format, arguments);
	va_end(arguments);
	if (size >= (int)sizeof out || SSL_write(session->ssl, out, size) != size) fail(session, "cannot send");
}

/* ---- SCRAM-SHA-1 (RFC 5802) ---- */

/* The costly part, once: all accounts have the same password, salt and count, as if clients had kept it. */
static const unsigned char *salted_password(const unsigned char *salt, int size, int count) {
	static unsigned char salted[DIGEST], known_salt[64];
	static int known_size, known_count;
	if (size > (int)sizeof known_salt) die("a long salt");
	if (size != known_size || count != known_count || memcmp(salt, known_salt, size) != 0) {
		PKCS5_PBKDF2_HMAC(PASSWORD, -1, salt, size, count, EVP_sha1(), DIGEST, salted);
		memcpy(known_salt, salt, size);
		known_size = size, known_count = count;
	}
	return salted;
}

static void hmac(const unsigned char *key, const char *data, unsigned char *digest) {
	HMAC(EVP_sha1(), key, DIGEST, (const unsigned char *)data, strlen(data), digest, NULL);
}

/* The content of an element, decoded: at most `room` bytes with a zero behind. */
static int decoded(const char *from, const char *until, char *to, int room) {
	int size = until - from;
	if (size % 4 || size / 4 * 3 >= room || (size = EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)from, size)) < 0) return -1;
	while (until > from && *--until == '=') size--;
	to[size] = 0;
	return size;
}

static int content(const char *element, char *to, int room) {
	const char *from = strchr(element, '>'), *until = from ? strchr(from, '<') : NULL;
	return until ? decoded(from + 1, until, to, room) : -1;
}

static void say_auth(struct session *session) {
	char message[80], encoded[128];
	snprintf(session->first, sizeof session->first, "n=u%d,r=bench%d.%llx", session->number, session->number, (unsigned long long)now());
	int size = snprintf(message, sizeof message, "n,,%s", session->first);
	EVP_EncodeBlock((unsigned char *)encoded, (unsigned char *)message, size);
	say(session, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>%s</auth>", encoded);
}

static void say_proof(struct session *session, const char *challenge) {
	char first[256], nonce[128], salt[64], message[700], last[300], encoded[400];
	unsigned char client[DIGEST], server[DIGEST], stored[DIGEST], proof[DIGEST];
	int count, size;
	if (content(challenge, first, sizeof first) < 0 || sscanf(first, "r=%127[^,],s=%63[^,],i=%d", nonce, salt, &count) != 3)
		fail(session, challenge);
	char raw[64];
	size = decoded(salt, salt + strlen(salt), raw, sizeof raw);
	const unsigned char *salted = salted_password((unsigned char *)raw, size, count);
	hmac(salted, "Client Key", client);
	hmac(salted, "Server Key", server);
	EVP_Digest(client, DIGEST, stored, NULL, EVP_sha1(), NULL);
	size = snprintf(last, sizeof last, "c=biws,r=%s", nonce);
	snprintf(message, sizeof message, "%s,%s,%s", session->first, first, last);
	hmac(stored, message, proof);
	for (int i = 0; i < DIGEST; i++) proof[i] ^= client[i];
	hmac(server, message, stored);
	EVP_EncodeBlock((unsigned char *)session->verifier, stored, DIGEST);
	size += snprintf(last + size, sizeof last - size, ",p=");
	size += EVP_EncodeBlock((unsigned char *)last + size, proof, DIGEST);
	EVP_EncodeBlock((unsigned char *)encoded, (unsigned char *)last, size);
	say(session, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", encoded);
}

/* ---- the login ---- */

static void say_open(struct session *session) {
	say(session, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='" HOST "' version='1.0' "
		"xmlns:stream='http://etherx.jabber.org/streams'>");
}

static void expect(struct session *session, const char *element, const char *beginning) {
	if (strncmp(element, beginning, strlen(beginning)) != 0 || strstr(element, "type='error'")) fail(session, element);
}

/* The next step. Elements that may come at any time, or that no step waits for, change nothing. */
static void element(struct session *session, const char *element) {
	char said[64];
	if (!strncmp(element, "<?xml", 5) || !strncmp(element, "<stream:stream", 14)) return;
	switch (session->state) {
	case FEATURES:
		expect(session, element, "<stream:features");
		say_auth(session);
		break;
	case CHALLENGE:
		expect(session, element, "<challenge");
		say_proof(session, element);
		break;
	case SUCCESS:
		expect(session, element, "<success");
		if (content(element, said, sizeof said) < 2 || strcmp(said + 2, session->verifier) != 0) fail(session, "the server does not know the password");
		say_open(session);
		break;
	case FEATURES_AGAIN:
		expect(session, element, "<stream:features");
		say(session, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>");
		break;
	case BIND:
		expect(session, element, "<iq");
		say(session, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
		break;
	case ROSTER:
		expect(session, element, "<iq");
		say(session, "<presence/>");
		break;
	case PRESENCE:
		expect(session, element, "<presence");
		if (session->room < 0) session->state = JOIN;
		else say(session, "<presence to='room%d@rooms." HOST "/u%d'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
			session->room, session->number);
		break;
	case JOIN: /* the subject comes last */
		if (!strstr(element, "<subject")) {
			if (strstr(element, "type='error'")) fail(session, element);
			return;
		}
		break;
	default:
		on_stanza(session, element);
		return;
	}
	session->state++;
}

/* The end of the first whole element, or NULL. Prosody writes < and > nowhere but around a tag. */
static char *end_of_element(char *at, char *limit) {
	for (int depth = 0; (at = memchr(at, '<', limit - at));) {
		char *end = memchr(at, '>', limit - at);
		if (!end) return NULL;
		if (at[1] == '/') depth--;
		else if (at[1] != '?' && end[-1] != '/' && strncmp(at, "<stream:stream", 14) != 0) depth++;
		at = end + 1;
		if (depth == 0) return at;
		if (depth < 0) die("the server ended the stream");
	}
	return NULL;
}

/* Takes the session as far as it gets without waiting. */
static void receive(struct session *session) {
	int result;
	if (session->state == HANDSHAKE) {
		if ((result = SSL_connect(session->ssl)) != 1) {
			if (SSL_get_error(session->ssl, result) == SSL_ERROR_WANT_READ) return;
			fail(session, ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error()) : "no TLS handshake");
		}
		session->resumed = SSL_session_reused(session->ssl);
		session->state = FEATURES;
		say_open(session);
	}
	while ((result = SSL_read(session->ssl, session->in + session->held, STANZAS - session->held)) > 0) {
		session->held += result;
		char *at = session->in, *limit = at + session->held, *end;
		for (; (end = end_of_element(at, limit)); at = end) {
			char next = *end;
			*end = 0;
			element(session, at);
			*end = next;
		}
		session->held = limit - at;
		memmove(session->in, at, session->held);
		if (session->held == STANZAS) fail(session, "a stanza without end");
	}
	if (SSL_get_error(session->ssl, result) != SSL_ERROR_WANT_READ) fail(session, "closed by the server");
}

/* Connects and says the first word. */
static void begin(struct session *session, int poller) {
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = session };
	int fd = connection();
	session->ssl = SSL_new(context);
	session->state = HANDSHAKE;
	session->held = 0;
	if (!session->ssl || !SSL_set_fd(session->ssl, fd) || !SSL_set_tlsext_host_name(session->ssl, HOST) ||
		(session->ticket && !SSL_set_session(session->ssl, session->ticket)))
		die("cannot set up a connection");
	SSL_set_app_data(session->ssl, session);
	nonblocking(fd);
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
	session->since = now();
	receive(session);
}

/* Waits for something to read, and deals with it. */
static int serve(int poller, int wait) {
	struct epoll_event events[EVENTS];
	int ready = epoll_wait(poller, events, EVENTS, wait);
	for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
	return ready;
}
