#include "tls/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A file as it was: another one of its name, or one written anew, has others. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec written, changed;
};

struct tls_context {
	SSL_CTX *ctx;
	char *ca;                  /* the file of roots */
	struct stamp roots;        /* when it was read */
};

struct tls {
	SSL *ssl;
	BIO *in, *out;             /* owned by ssl */
	enum tls_state state;
	bool over;                 /* no more comes from the network */
	char why[TLS_MOST_WHY];
	char fingerprint[2 * 32 + 1];
	char name[256];            /* that the certificate should bear */
	char bears[128];           /* that it does; "" before one was judged */
	enum tls_fault fault;
	struct tls_peer peer;
};

/* ---- the roots' file ----------------------------------------------------------------- */

/* Zeros where there is no such file. */
static struct stamp
stamp_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct stamp){0};
	return (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

bool
tls_context_stale(const struct tls_context *c)
{
	const struct stamp *a = &c->roots, b = stamp_of(c->ca);

	return a->dev != b.dev || a->ino != b.ino || a->size != b.size ||
	    a->written.tv_sec != b.written.tv_sec || a->written.tv_nsec != b.written.tv_nsec ||
	    a->changed.tv_sec != b.changed.tv_sec || a->changed.tv_nsec != b.changed.tv_nsec;
}

/* ---- contexts -------------------------------------------------------------------- */

/* The library's last error in its own words. */
static void
say(char why[TLS_MOST_WHY], const char *what, const char *about)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	snprintf(why, TLS_MOST_WHY, "%s%s%s%s%s", what, about ? " " : "", about ? about : "",
	    reason ? ": " : "", reason ? reason : "");
	ERR_clear_error();
}

/* Ciphers of TLS 1.3 and older ones are set by two calls; the policy has one list. Where only one
 * kind is named the other is not offered at all. */
static int
set_ciphers(SSL_CTX *ctx, const char *list, char why[TLS_MOST_WHY])
{
	size_t n = strlen(list) + 1;
	char *new13 = calloc(1, n), *old = calloc(1, n);
	const char *p = list;
	size_t n13 = 0, nold = 0;
	int err = 0;

	if (!new13 || !old) {
		free(new13);
		free(old);
		return -ENOMEM;
	}
	while (*p) {
		size_t k = strcspn(p, ":");
		char *to = strncmp(p, "TLS_", 4) ? old : new13;
		size_t *at = to == old ? &nold : &n13;

		if (k) {
			if (*at)
				to[(*at)++] = ':';
			memcpy(to + *at, p, k);
			*at += k;
		}
		p += k + (p[k] == ':');
	}
	if (n13 && SSL_CTX_set_ciphersuites(ctx, new13) != 1) {
		say(why, "no such cipher in", new13);
		err = -EINVAL;
	}
	if (!err && nold) {
		if (SSL_CTX_set_cipher_list(ctx, old) != 1) {
			say(why, "no such cipher in", old);
			err = -EINVAL;
		}
	}
	if (!err && !nold && !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
		err = -EINVAL;
	if (!err && !n13 && !SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION))
		err = -EINVAL;
	free(new13);
	free(old);
	return err;
}

static int
set_roots(SSL_CTX *ctx, const char *ca, char why[TLS_MOST_WHY])
{
	struct stat st;
	int ok;

	if (!ca) {
		ok = SSL_CTX_set_default_verify_paths(ctx);
	} else if (stat(ca, &st)) {
		snprintf(why, TLS_MOST_WHY, "cannot read %s: %s", ca, strerror(errno));
		return -EINVAL;
	} else if (S_ISDIR(st.st_mode)) {
		ok = SSL_CTX_load_verify_dir(ctx, ca);
	} else {
		ok = SSL_CTX_load_verify_file(ctx, ca);
	}
	if (ok == 1)
		return 0;
	say(why, "cannot read the roots", ca ? ca : "of the system");
	return -EINVAL;
}

static int
set_own(SSL_CTX *ctx, const struct tls_options *o, char why[TLS_MOST_WHY])
{
	const char *key = o->key ? o->key : o->certificate;

	if (SSL_CTX_use_certificate_chain_file(ctx, o->certificate) != 1) {
		say(why, "cannot read the certificate", o->certificate);
		return -EINVAL;
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
		say(why, "cannot read the key", key);
		return -EINVAL;
	}
	if (SSL_CTX_check_private_key(ctx) != 1) {
		say(why, "the key does not fit the certificate", o->certificate);
		return -EINVAL;
	}
	return 0;
}

int
tls_own_check(const char *file, char why[TLS_MOST_WHY])
{
	const struct tls_options o = {.certificate = file};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const X509 *x;
	int err;

	why[0] = 0;
	ERR_clear_error();
	if (!ctx)
		return -ENOMEM;
	err = set_own(ctx, &o, why);
	x = err ? NULL : SSL_CTX_get0_certificate(ctx);
	if (x && X509_self_signed((X509 *)x, 0) == 1) {
		snprintf(why, TLS_MOST_WHY, "the certificate is self-signed; have one signed by a common authority");
		err = -EINVAL;
	} else if (x && X509_cmp_current_time(X509_get0_notAfter(x)) < 0) {
		snprintf(why, TLS_MOST_WHY, "the certificate has ended; renew it");
		err = -EINVAL;
	}
	SSL_CTX_free(ctx);
	return err;
}

int
tls_context_new(const struct tls_options *o, struct tls_context **out, char why[TLS_MOST_WHY])
{
	struct tls_context *c = calloc(1, sizeof *c);
	int err = 0;

	why[0] = 0;
	ERR_clear_error();
	if (!c || !(c->ctx = SSL_CTX_new(TLS_client_method())) ||
	    !(c->ca = strdup(o->ca ? o->ca : X509_get_default_cert_file()))) {
		tls_context_free(c);
		return -ENOMEM;
	}
	/* before it is read: one that is written meanwhile is read once more */
	c->roots = stamp_of(c->ca);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	    SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	if (!SSL_CTX_set_min_proto_version(c->ctx, o->minimum == 13 ? TLS1_3_VERSION : TLS1_2_VERSION))
		err = -EINVAL;
	if (!err && o->ciphers && *o->ciphers)
		err = set_ciphers(c->ctx, o->ciphers, why);
	if (!err && o->minimum == 13 && SSL_CTX_get_max_proto_version(c->ctx) == TLS1_2_VERSION) {
		snprintf(why, TLS_MOST_WHY, "TLS 1.3 is the least, and no cipher of it is listed");
		err = -EINVAL;
	}
	if (!err)
		err = set_roots(c->ctx, o->ca, why);
	if (!err && o->certificate)
		err = set_own(c->ctx, o, why);
	if (err) {
		tls_context_free(c);
		return err;
	}
	*out = c;
	return 0;
}

struct tls_context *
tls_context_free(struct tls_context *c)
{
	if (c) {
		SSL_CTX_free(c->ctx);
		free(c->ca);
	}
	free(c);
	return NULL;
}

/* ---- sessions --------------------------------------------------------------------- */

static bool
is_literal(const char *name)
{
	struct in6_addr a;

	return inet_pton(AF_INET, name, &a) == 1 || inet_pton(AF_INET6, name, &a) == 1;
}

/* The names that the certificate may bear. */
static bool
expect(SSL *ssl, const char *name, const char *const *also, size_t nalso)
{
	X509_VERIFY_PARAM *v = SSL_get0_param(ssl);

	/* the common name is no name any more, even where there is no other (RFC 9525) */
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (!nalso)
		return is_literal(name) ? X509_VERIFY_PARAM_set1_ip_asc(v, name) == 1 :
		    SSL_set1_host(ssl, name) == 1;
	for (size_t i = 0; i < nalso; i++)
		if (SSL_add1_host(ssl, also[i]) != 1)
			return false;
	return true;
}

/* One step of the handshake, and what became of it. */
static void
shake(struct tls *t);

/* The first name that the certificate bears, for people. */
static void
first_name(X509 *x, char out[128])
{
	GENERAL_NAMES *g = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	snprintf(out, 128, "nobody");
	for (int i = 0; g && i < sk_GENERAL_NAME_num(g); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(g, i);
		if (n->type != GEN_DNS)
			continue;
		const unsigned char *s = ASN1_STRING_get0_data(n->d.dNSName);
		int len = ASN1_STRING_length(n->d.dNSName), k = 0;
		for (; k < len && k < 127; k++)
			out[k] = (char)(s[k] > ' ' && s[k] < 127 ? s[k] : '?');
		out[k] = 0;
		break;
	}
	GENERAL_NAMES_free(g);
}

static int64_t
seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* What is from outside is for people: of printable ASCII alone. */
static void
plain(char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
}

static void
keep_peer(struct tls_peer *p, X509 *x)
{
	GENERAL_NAMES *g = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	size_t at = 0;

	p->known = true;
	p->from = seconds_of(X509_get0_notBefore(x));
	p->until = seconds_of(X509_get0_notAfter(x));
	p->self = !X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(x));
	if (!X509_NAME_oneline(X509_get_issuer_name(x), p->issuer, sizeof p->issuer))
		p->issuer[0] = 0;
	plain(p->issuer);
	for (int i = 0; g && i < sk_GENERAL_NAME_num(g); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(g, i);
		char text[INET6_ADDRSTRLEN] = "";
		const char *s = text;
		int len, put;

		if (n->type == GEN_DNS) {
			s = (const char *)ASN1_STRING_get0_data(n->d.dNSName);
			len = ASN1_STRING_length(n->d.dNSName);
		} else if (n->type == GEN_IPADD && (ASN1_STRING_length(n->d.iPAddress) == 4 ||
		    ASN1_STRING_length(n->d.iPAddress) == 16)) {
			inet_ntop(ASN1_STRING_length(n->d.iPAddress) == 4 ? AF_INET : AF_INET6,
			    ASN1_STRING_get0_data(n->d.iPAddress), text, sizeof text);
			len = (int)strlen(text);
		} else {
			continue;
		}
		put = snprintf(p->names + at, sizeof p->names - at, "%s%.*s", at ? ", " : "", len, s);
		if (put < 0 || (size_t)put >= sizeof p->names - at) {
			p->names[at] = 0;
			break;
		}
		at += (size_t)put;
	}
	plain(p->names);
	GENERAL_NAMES_free(g);
}

/* Judges nothing itself: what the library found stays. It only sees the certificate that a failed
 * handshake does not keep. */
static int
look(int ok, X509_STORE_CTX *x)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = ssl ? SSL_get_app_data(ssl) : NULL;
	X509 *leaf = X509_STORE_CTX_get0_cert(x);

	if (t && leaf && !*t->bears) {
		first_name(leaf, t->bears);
		keep_peer(&t->peer, leaf);
	}
	return ok;
}

struct tls *
tls_new(struct tls_context *c, const char *name, const char *const *also, size_t nalso)
{
	struct tls *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	snprintf(t->name, sizeof t->name, "%s", nalso ? also[0] : name);
	t->ssl = SSL_new(c->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (!t->ssl || !t->in || !t->out) {
		BIO_free(t->in);
		BIO_free(t->out);
		SSL_free(t->ssl);
		free(t);
		return NULL;
	}
	BIO_set_mem_eof_return(t->in, -1);
	SSL_set_bio(t->ssl, t->in, t->out);
	SSL_set_connect_state(t->ssl);
	SSL_set_app_data(t->ssl, t);
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, look);
	if ((!is_literal(name) && SSL_set_tlsext_host_name(t->ssl, name) != 1) ||
	    !expect(t->ssl, name, also, nalso))
		return tls_free(t);
	shake(t);
	return t;
}

struct tls *
tls_free(struct tls *t)
{
	if (t)
		SSL_free(t->ssl);
	free(t);
	return NULL;
}

enum tls_state
tls_state(const struct tls *t)
{
	return t->state;
}

static void
keep_fingerprint(struct tls *t)
{
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	unsigned char d[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!x || !X509_digest(x, EVP_sha256(), d, &n) || n != 32)
		return;
	for (unsigned i = 0; i < n; i++)
		snprintf(t->fingerprint + 2 * (size_t)i, 3, "%02x", d[i]);
}

/* By the judgement of the certificate, where that was it, else by the library's reason. */
static enum tls_fault
fault_of(long v, unsigned long e)
{
	int reason = ERR_GET_REASON(e);

	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && v != X509_V_OK)
		return v == X509_V_ERR_HOSTNAME_MISMATCH || v == X509_V_ERR_IP_ADDRESS_MISMATCH ? TLS_FAULT_NAME :
		    v == X509_V_ERR_CERT_HAS_EXPIRED ? TLS_FAULT_EXPIRED :
		    v == X509_V_ERR_CERT_NOT_YET_VALID ? TLS_FAULT_NOT_YET : TLS_FAULT_ROOT;
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
		return TLS_FAULT_VERSION;
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
	case SSL_R_NO_CIPHERS_AVAILABLE:
	case SSL_R_WRONG_CIPHER_RETURNED:
		return TLS_FAULT_CIPHERS;
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return TLS_FAULT_OURS;
	}
	return TLS_FAULT_OTHER;
}

static void
fail(struct tls *t)
{
	long v = SSL_get_verify_result(t->ssl);
	unsigned long e = ERR_peek_error();

	t->state = TLS_FAILED;
	t->fault = fault_of(v, e);
	if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && v != X509_V_OK) {
		if (v == X509_V_ERR_HOSTNAME_MISMATCH || v == X509_V_ERR_IP_ADDRESS_MISMATCH)
			snprintf(t->why, sizeof t->why, "the certificate is for %s, not %s", t->bears,
			    t->name);
		else
			snprintf(t->why, sizeof t->why, "the certificate is not to be trusted: %s",
			    X509_verify_cert_error_string(v));
	} else {
		const char *r = e ? ERR_reason_error_string(e) : NULL;
		snprintf(t->why, sizeof t->why, "TLS: %s", r ? r : "the other side broke it off");
	}
	ERR_clear_error();
}

static void
shake(struct tls *t)
{
	ERR_clear_error();
	int k = SSL_do_handshake(t->ssl);
	if (k == 1) {
		/* SSL_VERIFY_PEER has seen to it; asked once more, for all rests on it */
		if (SSL_get_verify_result(t->ssl) != X509_V_OK) {
			fail(t);
			return;
		}
		keep_fingerprint(t);
		t->state = TLS_READY;
		return;
	}
	int e = SSL_get_error(t->ssl, k);
	if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
		fail(t);
}

size_t
tls_feed(struct tls *t, const void *bytes, size_t n)
{
	size_t held = BIO_ctrl_pending(t->in);

	if (t->state == TLS_FAILED || t->state == TLS_ENDED)
		return n;              /* nobody reads it any more */
	if (held >= TLS_MOST_HELD)
		return 0;
	if (n > TLS_MOST_HELD - held)
		n = TLS_MOST_HELD - held;
	if (n > 0) {
		int k = BIO_write(t->in, bytes, (int)n);
		if (k <= 0)
			return 0;
		n = (size_t)k;
	}
	if (t->state == TLS_SHAKING)
		shake(t);
	return n;
}

static void
cut(struct tls *t)
{
	t->state = TLS_FAILED;
	t->fault = TLS_FAULT_CUT;
	snprintf(t->why, sizeof t->why, "the connection was cut without an end of TLS");
}

void
tls_feed_end(struct tls *t)
{
	if (t->state == TLS_FAILED || t->state == TLS_ENDED)
		return;
	t->over = true;
	/* what came before is read first */
	if (t->state != TLS_READY || (!BIO_ctrl_pending(t->in) && !SSL_has_pending(t->ssl)))
		cut(t);
}

size_t
tls_read(struct tls *t, void *bytes, size_t n)
{
	size_t got = 0;

	if (t->state != TLS_READY || !n)
		return 0;
	ERR_clear_error();
	int k = SSL_read_ex(t->ssl, bytes, n, &got);
	if (k == 1)
		return got;
	switch (SSL_get_error(t->ssl, k)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		if (t->over)
			cut(t);
		break;
	case SSL_ERROR_ZERO_RETURN:
		t->state = TLS_ENDED;
		break;
	default:
		fail(t);
	}
	return 0;
}

size_t
tls_write(struct tls *t, const void *bytes, size_t n)
{
	size_t put = 0, held = BIO_ctrl_pending(t->out);

	if (t->state != TLS_READY || t->over || held >= TLS_MOST_HELD)
		return 0;
	if (n > TLS_MOST_HELD - held)
		n = TLS_MOST_HELD - held;
	if (!n)
		return 0;
	ERR_clear_error();
	int k = SSL_write_ex(t->ssl, bytes, n, &put);
	if (k == 1)
		return put;
	int e = SSL_get_error(t->ssl, k);
	if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
		fail(t);
	return 0;
}

void
tls_end(struct tls *t)
{
	if (t->state == TLS_READY) {
		ERR_clear_error();
		SSL_shutdown(t->ssl);
		ERR_clear_error();
	}
}

const void *
tls_out(struct tls *t, size_t *n)
{
	char *p = NULL;
	long k = BIO_get_mem_data(t->out, &p);

	*n = k > 0 ? (size_t)k : 0;
	return p;
}

void
tls_sent(struct tls *t, size_t n)
{
	char drop[4096];

	while (n) {
		int k = BIO_read(t->out, drop, (int)(n < sizeof drop ? n : sizeof drop));
		if (k <= 0)
			return;
		n -= (size_t)k;
	}
}

const char *
tls_why(const struct tls *t)
{
	return t->why;
}

enum tls_fault
tls_fault(const struct tls *t)
{
	return t->fault;
}

const struct tls_peer *
tls_peer(const struct tls *t)
{
	return &t->peer;
}

const char *
tls_version(const struct tls *t)
{
	return t->state == TLS_READY || t->state == TLS_ENDED ? SSL_get_version(t->ssl) : "";
}

const char *
tls_cipher(const struct tls *t)
{
	return t->state == TLS_READY || t->state == TLS_ENDED ? SSL_get_cipher_name(t->ssl) : "";
}

const char *
tls_fingerprint(const struct tls *t)
{
	return t->fingerprint;
}

bool
tls_binding(const struct tls *t, uint8_t out[32])
{
	static const char label[] = "EXPORTER-Channel-Binding";

	return t->state == TLS_READY && SSL_export_keying_material(t->ssl, out, 32, label,
	    sizeof label - 1, NULL, 0, 0) == 1;
}
