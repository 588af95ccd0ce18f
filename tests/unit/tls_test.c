/* tls: a relay that is who it should be is spoken to, any other is not. The server of
 * these tests is OpenSSL's own, over bytes as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls/tls.h"

static char folder[] = "/tmp/mailreeve-tls-XXXXXX";
static char ca_file[100], own_file[100];
static EVP_PKEY *ca_key;
static X509 *ca_cert;

static void
extend(X509 *x, int nid, const char *value)
{
	X509V3_CTX c;

	X509V3_set_ctx_nodb(&c);
	X509V3_set_ctx(&c, ca_cert ? ca_cert : x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* A certificate of our authority; san NULL: only a common name. */
static X509 *
certificate(EVP_PKEY *key, const char *cn, const char *san, long from, long until)
{
	static long serial = 1;
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), from);
	X509_gmtime_adj(X509_getm_notAfter(x), until);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, ca_cert ? X509_get_subject_name(ca_cert) : X509_get_subject_name(x));
	extend(x, NID_basic_constraints, ca_cert ? "CA:FALSE" : "critical,CA:TRUE");
	if (san)
		extend(x, NID_subject_alt_name, san);
	assert_true(X509_sign(x, ca_cert ? ca_key : key, EVP_sha256()) > 0);
	return x;
}

struct server {
	SSL_CTX *ctx;
	SSL *ssl;
	EVP_PKEY *key;
};

struct kind {
	const char *cn, *san;
	long from, until;
	int min, max;              /* protocol versions; 0: all */
	const char *ciphers;
	int wants_client;
	int self_signed;
};

static struct server
serve(const struct kind *k)
{
	struct server s = {SSL_CTX_new(TLS_server_method()), NULL, EVP_EC_gen("P-256")};
	X509 *keep = ca_cert;

	if (k->self_signed)
		ca_cert = NULL;
	X509 *x = certificate(s.key, k->cn, k->san, k->from, k->until ? k->until : 3600);
	ca_cert = keep;
	SSL_CTX_set_security_level(s.ctx, 0);
	assert_int_equal(SSL_CTX_use_certificate(s.ctx, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(s.ctx, s.key), 1);
	X509_free(x);
	if (k->min)
		SSL_CTX_set_min_proto_version(s.ctx, k->min);
	if (k->max)
		SSL_CTX_set_max_proto_version(s.ctx, k->max);
	if (k->ciphers)
		assert_int_equal(SSL_CTX_set_cipher_list(s.ctx, k->ciphers), 1);
	if (k->wants_client) {
		SSL_CTX_load_verify_file(s.ctx, ca_file);
		SSL_CTX_set_verify(s.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	s.ssl = SSL_new(s.ctx);
	SSL_set_bio(s.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_accept_state(s.ssl);
	return s;
}

static void
end(struct server *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	EVP_PKEY_free(s->key);
}

/* Carries bytes both ways, `piece` at a time, until nothing moves. */
static void
carry(struct tls *t, struct server *s, size_t piece)
{
	char b[65536];

	for (int idle = 0; idle < 2;) {
		size_t n;
		const char *p = tls_out(t, &n);
		int moved = 0, k;

		if (n > piece)
			n = piece;
		if (n) {
			BIO_write(SSL_get_rbio(s->ssl), p, (int)n);
			tls_sent(t, n);
			moved = 1;
		}
		if (!SSL_is_init_finished(s->ssl))
			SSL_do_handshake(s->ssl);
		k = BIO_read(SSL_get_wbio(s->ssl), b, (int)(piece < sizeof b ? piece : sizeof b));
		for (size_t at = 0; k > 0 && at < (size_t)k;) {
			size_t fed = tls_feed(t, b + at, (size_t)k - at);
			assert_true(fed > 0);
			at += fed;
			moved = 1;
		}
		idle = moved ? 0 : idle + 1;
	}
}

/* A session with the server that `name` is to be. */
static struct tls *
meet(const struct kind *k, const struct tls_options *o, const char *name, struct server *s,
    size_t piece)
{
	struct tls_options with = o ? *o : (struct tls_options){0};
	struct tls_context *c;
	char why[TLS_MOST_WHY];

	if (!with.ca)
		with.ca = ca_file;
	assert_int_equal(tls_context_new(&with, &c, why), 0);
	*s = serve(k);
	struct tls *t = tls_new(c, name, NULL, 0);
	assert_non_null(t);
	c = tls_context_free(c);
	carry(t, s, piece);
	return t;
}

static const struct kind good = {"x", "DNS:smtp.example.org", -60, 3600, .min = 0};

static void
rfc8314_a_verified_relay_is_spoken_to(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 65536; piece *= 16) {
		struct server s;
		char b[100];
		struct tls *t = meet(&good, NULL, "smtp.example.org", &s, piece);

		assert_string_equal(tls_why(t), "");
		assert_int_equal(tls_state(t), TLS_READY);
		assert_string_equal(tls_version(t), "TLSv1.3");
		assert_int_equal(strlen(tls_fingerprint(t)), 64);
		assert_string_equal(SSL_get_servername(s.ssl, TLSEXT_NAMETYPE_host_name),
		    "smtp.example.org");
		assert_int_equal(tls_write(t, "EHLO me\r\n", 9), 9);
		carry(t, &s, piece);
		assert_int_equal(SSL_read(s.ssl, b, sizeof b), 9);
		assert_int_equal(SSL_write(s.ssl, "250 you\r\n", 9), 9);
		carry(t, &s, piece);
		size_t got = 0, k;
		while ((k = tls_read(t, b + got, sizeof b - got)))
			got += k;
		assert_int_equal(got, 9);
		assert_memory_equal(b, "250 you\r\n", 9);
		uint8_t ours[32], theirs[32];
		assert_true(tls_binding(t, ours));
		assert_int_equal(SSL_export_keying_material(s.ssl, theirs, 32,
		    "EXPORTER-Channel-Binding", 24, NULL, 0, 0), 1);
		assert_memory_equal(ours, theirs, 32);
		SSL_shutdown(s.ssl);
		carry(t, &s, piece);
		assert_int_equal(tls_read(t, b, sizeof b), 0);
		assert_int_equal(tls_state(t), TLS_ENDED);
		t = tls_free(t);
		end(&s);
	}
}

static void
rfc9525_any_other_is_not(void **state)
{
	(void)state;
	static const struct {
		struct kind k;
		const char *name, *why;
	} c[] = {
		{{"x", "DNS:mx.example.org", -60, 3600}, "smtp.example.org",
		    "the certificate is for mx.example.org, not smtp.example.org"},
		{{"smtp.example.org", NULL, -60, 3600}, "smtp.example.org", "not smtp.example.org"},
		{{"smtp.example.org", "DNS:other.example.org", -60, 3600}, "smtp.example.org", "not smtp"},
		{{"x", "DNS:s*.example.org", -60, 3600}, "smtp.example.org", "not smtp.example.org"},
		{{"x", "DNS:smtp.example.org", -7200, -3600}, "smtp.example.org", "expired"},
		{{"x", "DNS:smtp.example.org", 3600, 7200}, "smtp.example.org", "not yet valid"},
		{{"x", "DNS:smtp.example.org", -60, 3600, .self_signed = 1}, "smtp.example.org", "self"},
		{{"x", "DNS:192.0.2.1", -60, 3600}, "192.0.2.1", "not 192.0.2.1"},
		{{"x", "DNS:smtp.example.org", -60, 3600, .max = TLS1_1_VERSION,
		    .ciphers = "ALL:@SECLEVEL=0"}, "smtp.example.org", "TLS"},
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct server s;
		struct tls *t = meet(&c[i].k, NULL, c[i].name, &s, 65536);
		assert_int_equal(tls_state(t), TLS_FAILED);
		if (!strstr(tls_why(t), c[i].why))
			fail_msg("%zu: %s", i, tls_why(t));
		assert_int_equal(tls_write(t, "AUTH", 4), 0);
		assert_string_equal(tls_version(t), "");
		t = tls_free(t);
		end(&s);
	}
}

static void
wildcards_addresses_and_pinned_names_are_names(void **state)
{
	(void)state;
	struct kind wild = {"x", "DNS:*.example.org", -60, 3600}, ip = {"x", "IP:192.0.2.1", -60, 3600};
	struct server s;
	struct tls *t = meet(&wild, NULL, "smtp.example.org", &s, 65536);

	assert_int_equal(tls_state(t), TLS_READY);
	t = tls_free(t);
	end(&s);
	t = meet(&ip, NULL, "192.0.2.1", &s, 65536);
	assert_int_equal(tls_state(t), TLS_READY);
	assert_null(SSL_get_servername(s.ssl, TLSEXT_NAMETYPE_host_name));
	t = tls_free(t);
	end(&s);
	for (int pass = 0; pass < 2; pass++) {
		static const char *const names[] = {"a.example.org", "smtp.example.org"};
		struct tls_options o = {.ca = ca_file};
		struct tls_context *c;
		char why[TLS_MOST_WHY];
		assert_int_equal(tls_context_new(&o, &c, why), 0);
		s = serve(&good);
		t = tls_new(c, "relay.example.net", names, pass ? 2 : 1);
		carry(t, &s, 65536);
		assert_int_equal(tls_state(t), pass ? TLS_READY : TLS_FAILED);
		t = tls_free(t);
		c = tls_context_free(c);
		end(&s);
	}
}

static void
COL_28_versions_and_ciphers_are_as_told(void **state)
{
	(void)state;
	struct kind only12 = good;
	struct server s;
	struct tls *t;

	only12.max = TLS1_2_VERSION;
	t = meet(&only12, NULL, "smtp.example.org", &s, 65536);
	assert_string_equal(tls_version(t), "TLSv1.2");
	t = tls_free(t);
	end(&s);
	t = meet(&only12, &(struct tls_options){.minimum = 13}, "smtp.example.org", &s, 65536);
	assert_int_equal(tls_state(t), TLS_FAILED);
	t = tls_free(t);
	end(&s);
	t = meet(&good, &(struct tls_options){.ciphers = "TLS_CHACHA20_POLY1305_SHA256"},
	    "smtp.example.org", &s, 65536);
	assert_string_equal(tls_cipher(t), "TLS_CHACHA20_POLY1305_SHA256");
	t = tls_free(t);
	end(&s);
	t = meet(&good, &(struct tls_options){.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"},
	    "smtp.example.org", &s, 65536);
	assert_string_equal(tls_version(t), "TLSv1.2");
	assert_string_equal(tls_cipher(t), "ECDHE-ECDSA-AES256-GCM-SHA384");
	t = tls_free(t);
	end(&s);
}

static void
a_wrong_configuration_is_told(void **state)
{
	(void)state;
	static const struct { struct tls_options o; const char *why; } c[] = {
		{{.ca = "/no/such/roots.pem"}, "/no/such/roots.pem"},
		{{.ciphers = "NO-SUCH-CIPHER"}, "NO-SUCH-CIPHER"},
		{{.ciphers = "TLS_NO_SUCH"}, "TLS_NO_SUCH"},
		{{.minimum = 13, .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"}, "TLS 1.3"},
		{{.certificate = "/no/such/own.pem"}, "/no/such/own.pem"},
		{{.certificate = ca_file}, "key"},
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct tls_context *x = NULL;
		char why[TLS_MOST_WHY];
		assert_int_equal(tls_context_new(&c[i].o, &x, why), -EINVAL);
		if (!strstr(why, c[i].why))
			fail_msg("%zu: %s", i, why);
		assert_null(x);
	}
}

static void
a_cut_is_no_end(void **state)
{
	(void)state;
	struct server s;
	struct tls *t = meet(&good, NULL, "smtp.example.org", &s, 65536);
	char b[10];

	tls_feed_end(t);
	assert_int_equal(tls_read(t, b, sizeof b), 0);
	assert_int_equal(tls_state(t), TLS_FAILED);
	assert_non_null(strstr(tls_why(t), "cut"));
	t = tls_free(t);
	end(&s);
}

/* A relay's last words, each in a record of its own, and the end right behind them. */
static void
what_came_before_a_cut_is_read(void **state)
{
	(void)state;
	for (int orderly = 0; orderly < 2; orderly++) {
		struct server s;
		struct tls *t = meet(&good, NULL, "smtp.example.org", &s, 65536);
		char b[100];

		assert_int_equal(SSL_write(s.ssl, "250-one\r\n", 9), 9);
		assert_int_equal(SSL_write(s.ssl, "250 two\r\n", 9), 9);
		if (orderly)
			SSL_shutdown(s.ssl);
		carry(t, &s, 65536);
		assert_int_equal(tls_read(t, b, 4), 4);
		tls_feed_end(t);
		assert_int_equal(tls_write(t, "QUIT\r\n", 6), 0);
		assert_int_equal(tls_read(t, b, sizeof b), 5);
		assert_int_equal(tls_read(t, b, sizeof b), 9);
		assert_memory_equal(b, "250 two\r\n", 9);
		assert_int_equal(tls_read(t, b, sizeof b), 0);
		assert_int_equal(tls_state(t), orderly ? TLS_ENDED : TLS_FAILED);
		t = tls_free(t);
		end(&s);
	}
}

static void
nonsense_is_refused_and_what_is_held_is_bounded(void **state)
{
	(void)state;
	static const char *const junk[] = {"220 smtp.example.org ESMTP\r\n", "\x16\x03\x01\xff\xff",
		"HTTP/1.1 400\r\n\r\n", "\x15\x03\x03\x00\x02\x02\x28"};
	struct server s;
	char b[65536];

	for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
		struct tls_options o = {.ca = ca_file};
		struct tls_context *c;
		char why[TLS_MOST_WHY];
		assert_int_equal(tls_context_new(&o, &c, why), 0);
		struct tls *t = tls_new(c, "smtp.example.org", NULL, 0);
		size_t n = i == 3 ? 7 : strlen(junk[i]);
		for (size_t k = 0; k < n; k++)
			tls_feed(t, junk[i] + k, 1);
		assert_int_equal(tls_state(t), TLS_FAILED);
		assert_true(strlen(tls_why(t)) > 5);
		t = tls_free(t);
		c = tls_context_free(c);
	}
	/* a server that sends and sends */
	struct tls *t = meet(&good, NULL, "smtp.example.org", &s, 65536);
	size_t fed = 0;
	memset(b, 'x', sizeof b);
	for (int i = 0; i < 100; i++) {
		assert_true(SSL_write(s.ssl, b, 16000) > 0);
		char raw[20000];
		int k = BIO_read(SSL_get_wbio(s.ssl), raw, sizeof raw);
		size_t n = tls_feed(t, raw, (size_t)k);
		fed += n;
		if (n < (size_t)k)
			break;
	}
	assert_true(fed <= TLS_MOST_HELD);
	t = tls_free(t);
	end(&s);
}

static void
COR_12_we_can_show_a_certificate(void **state)
{
	(void)state;
	struct kind k = good;
	struct server s;

	k.wants_client = 1;
	k.max = TLS1_2_VERSION;
	struct tls *t = meet(&k, NULL, "smtp.example.org", &s, 65536);
	assert_int_equal(tls_state(t), TLS_FAILED);
	t = tls_free(t);
	end(&s);
	t = meet(&k, &(struct tls_options){.certificate = own_file}, "smtp.example.org", &s, 65536);
	assert_int_equal(tls_state(t), TLS_READY);
	assert_non_null(SSL_get0_peer_certificate(s.ssl));
	t = tls_free(t);
	end(&s);
}

/* Writes a certificate of ours and its key, and tells what is to be said of it. */
static void
own(bool signed_by_it, long ends, bool other_key, int want, const char *words)
{
	char path[sizeof own_file + 8], why[TLS_MOST_WHY];
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = other_key ? EVP_EC_gen("P-256") : NULL;
	X509 *authority = ca_cert;
	FILE *f;

	snprintf(path, sizeof path, "%s.x", own_file);
	if (!signed_by_it)
		ca_cert = NULL;        /* signs with its own key then */
	X509 *x = certificate(key, "host", "DNS:host.example.org", -3600, ends);
	ca_cert = authority;
	f = fopen(path, "w");
	PEM_write_X509(f, x);
	PEM_write_PrivateKey(f, other ? other : key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	assert_int_equal(tls_own_check(path, why), want);
	assert_non_null(strstr(why, words));
	unlink(path);
	X509_free(x);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

static void
COR_13_a_certificate_that_no_relay_takes_is_told_at_once(void **state)
{
	char why[TLS_MOST_WHY];

	(void)state;
	own(true, 3600, false, 0, "");
	own(false, 3600, false, -EINVAL, "self-signed");
	own(true, -60, false, -EINVAL, "has ended");
	own(true, 3600, true, -EINVAL, "key");
	assert_int_equal(tls_own_check("/nonexistent", why), -EINVAL);
	assert_non_null(strstr(why, "cannot read the certificate"));
}

static int
setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(ca_file, sizeof ca_file, "%s/ca.pem", folder);
	snprintf(own_file, sizeof own_file, "%s/own.pem", folder);
	ca_key = EVP_EC_gen("P-256");
	X509 *x = certificate(ca_key, "an authority", NULL, -3600 * 24, 3600 * 24);
	ca_cert = x;
	FILE *f = fopen(ca_file, "w");
	PEM_write_X509(f, x);
	fclose(f);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	x = certificate(key, "host", "DNS:host.example.org", -60, 3600);
	f = fopen(own_file, "w");
	PEM_write_X509(f, x);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(ca_cert);
	EVP_PKEY_free(ca_key);
	unlink(ca_file);
	unlink(own_file);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc8314_a_verified_relay_is_spoken_to),
		cmocka_unit_test(rfc9525_any_other_is_not),
		cmocka_unit_test(wildcards_addresses_and_pinned_names_are_names),
		cmocka_unit_test(COL_28_versions_and_ciphers_are_as_told),
		cmocka_unit_test(a_wrong_configuration_is_told),
		cmocka_unit_test(a_cut_is_no_end),
		cmocka_unit_test(what_came_before_a_cut_is_read),
		cmocka_unit_test(nonsense_is_refused_and_what_is_held_is_bounded),
		cmocka_unit_test(COR_12_we_can_show_a_certificate),
		cmocka_unit_test(COR_13_a_certificate_that_no_relay_takes_is_told_at_once),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
