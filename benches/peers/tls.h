/* TLS 1.3 of the clients. What is measured is the server, so all of them offer the same: X25519 and AES-256-GCM. */

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

static SSL_CTX *context;

/* `keep` gets each ticket. */
static void set_up(int (*keep)(SSL *, SSL_SESSION *)) {
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	context = SSL_CTX_new(TLS_client_method());
	if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) || !SSL_CTX_set1_groups_list(context, "X25519") ||
		!SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384"))
		die("cannot set up OpenSSL");
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* stock closes without close_notify */
	SSL_CTX_set_read_ahead(context, 1);                         /* one recv() a record, not two */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep);
}
