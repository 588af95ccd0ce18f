/* sasl: the relay learns who we are, and no more than it must. The relay's side of these tests is
 * libgsasl's server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sasl/sasl.h"

static char tim[] = "tim", his[] = "tanstaaftanstaaf", user[] = "user@example.com",
    token[] = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
static struct sasl_credential secret = {tim, his, NULL}, bearer = {user, NULL, token};

static void
rfc2195_cram_md5(void **state)
{
	(void)state;
	struct sasl *s;

	assert_int_equal(sasl_new("CRAM-MD5", &secret, "h", 587, NULL, &s), 0);
	assert_false(sasl_is_first(s));
	/* RFC 2195 section 2 */
	assert_string_equal(sasl_step(s,
	    "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"),
	    "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
	s = sasl_free(s);
}

static void
rfc4616_plain_and_login(void **state)
{
	(void)state;
	struct sasl *s;

	assert_int_equal(sasl_new("PLAIN", &secret, "h", 587, NULL, &s), 0);
	assert_true(sasl_is_first(s));
	assert_string_equal(sasl_step(s, NULL), "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	assert_true(sasl_is_proved(s));
	s = sasl_free(s);
	assert_int_equal(sasl_new("LOGIN", &secret, "h", 587, NULL, &s), 0);
	assert_false(sasl_is_first(s));
	assert_string_equal(sasl_step(s, "VXNlcm5hbWU6"), "dGlt");
	assert_string_equal(sasl_step(s, "UGFzc3dvcmQ6"), "dGFuc3RhYWZ0YW5zdGFhZg==");
	s = sasl_free(s);
}

static void
rfc7628_oauthbearer_and_xoauth2(void **state)
{
	(void)state;
	struct sasl *s;

	assert_int_equal(sasl_new("OAUTHBEARER", &bearer, "server.example.com", 587, NULL, &s), 0);
	/* RFC 7628 section 4.3, with its host and port */
	assert_string_equal(sasl_step(s, NULL),
	    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZG"
	    "OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
	assert_string_equal(sasl_step(s, "eyJzdGF0dXMiOiI0MDEifQ=="), "AQ==");
	s = sasl_free(s);
	assert_int_equal(sasl_new("XOAUTH2", &bearer, "h", 587, NULL, &s), 0);
	assert_string_equal(sasl_step(s, NULL),
	    "dXNlcj11c2VyQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZ"
	    "Mjl0Q2c9PQEB");
	assert_string_equal(sasl_step(s, "eyJzdGF0dXMiOiI0MDEifQ=="), "");
	s = sasl_free(s);
}

static const char *password = "tanstaaftanstaaf";
static const char *exporter = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

static int
serve(Gsasl *lib, Gsasl_session *s, Gsasl_property p)
{
	(void)lib;
	switch (p) {
	case GSASL_PASSWORD:
		return gsasl_property_set(s, p, password);
	case GSASL_CB_TLS_EXPORTER:
		return gsasl_property_set(s, p, exporter);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* Runs a whole exchange; 1 where both sides are content, 0 where we refuse, -1 where the server
 * does. */
static int
exchange(const char *mechanism)
{
	uint8_t binding[32];
	Gsasl *lib;
	Gsasl_session *server;
	struct sasl *s;
	char *out = NULL;
	int err, verdict;

	for (int i = 0; i < 32; i++)
		binding[i] = (uint8_t)i;
	assert_int_equal(gsasl_init(&lib), GSASL_OK);
	gsasl_callback_set(lib, serve);
	assert_int_equal(gsasl_server_start(lib, mechanism, &server), GSASL_OK);
	assert_int_equal(sasl_new(mechanism, &secret, "h", 587, binding, &s), 0);
	assert_false(sasl_is_proved(s));
	const char *line = sasl_step(s, NULL);
	for (;;) {
		assert_non_null(line);
		err = gsasl_step64(server, line, &out);
		if (err != GSASL_OK && err != GSASL_NEEDS_MORE) {
			verdict = -1;
			break;
		}
		if (err == GSASL_OK && (!out || !*out)) {
			verdict = sasl_is_proved(s);
			break;
		}
		line = sasl_step(s, out);
		gsasl_free(out);
		out = NULL;
		if (!line) {
			verdict = 0;
			break;
		}
		if (err == GSASL_OK) {
			verdict = sasl_is_proved(s);
			break;
		}
	}
	gsasl_free(out);
	s = sasl_free(s);
	gsasl_finish(server);
	gsasl_done(lib);
	return verdict;
}

static void
rfc5802_rfc7677_scram(void **state)
{
	(void)state;
	static const char *const names[] = {"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS",
		"SCRAM-SHA-256-PLUS"};

	for (size_t i = 0; i < 4; i++) {
		password = "tanstaaftanstaaf";
		assert_int_equal(exchange(names[i]), 1);
		password = "another";
		assert_int_equal(exchange(names[i]), -1);
	}
	password = "tanstaaftanstaaf";
	exporter = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	assert_int_equal(exchange("SCRAM-SHA-256-PLUS"), -1);
}

static void
a_relay_that_does_not_know_the_password_is_not_believed(void **state)
{
	(void)state;
	static const char *const nonsense[] = {"", "cj14LHM9eSxpPTE=", "!!!", "ZT1vdGhlci1lcnJvcg=="};

	for (size_t i = 0; i < 4; i++) {
		struct sasl *s;
		assert_int_equal(sasl_new("SCRAM-SHA-256", &secret, "h", 587, NULL, &s), 0);
		assert_non_null(sasl_step(s, NULL));
		assert_null(sasl_step(s, nonsense[i]));
		assert_false(sasl_is_proved(s));
		s = sasl_free(s);
	}
}

static void
rfc4954_the_password_is_told_under_tls_alone(void **state)
{
	(void)state;
	static const char all[] = "LOGIN PLAIN CRAM-MD5 scram-sha-1 SCRAM-SHA-256 SCRAM-SHA-256-PLUS "
	    "XOAUTH2 OAUTHBEARER GSSAPI";

	assert_string_equal(sasl_choose(all, &secret, true, true), "SCRAM-SHA-256-PLUS");
	assert_string_equal(sasl_choose(all, &secret, true, false), "SCRAM-SHA-256");
	assert_string_equal(sasl_choose("PLAIN LOGIN", &secret, true, false), "PLAIN");
	assert_string_equal(sasl_choose("LOGIN", &secret, true, false), "LOGIN");
	assert_null(sasl_choose("PLAIN LOGIN", &secret, false, false));
	assert_string_equal(sasl_choose("PLAIN CRAM-MD5", &secret, false, false), "CRAM-MD5");
	assert_null(sasl_choose("GSSAPI PLAINER", &secret, true, true));
	assert_null(sasl_choose("", &secret, true, true));
	assert_string_equal(sasl_choose(all, &bearer, true, true), "OAUTHBEARER");
	assert_string_equal(sasl_choose("PLAIN XOAUTH2", &bearer, true, true), "XOAUTH2");
	assert_null(sasl_choose(all, &bearer, false, true));
}

static void
credentials_are_read_strictly_and_never_shown(void **state)
{
	(void)state;
	static const struct { const char *text, *why; } bad[] = {
		{"", "needs"}, {"user: a\n", "needs"}, {"password: p4ss\n", "needs"},
		{"user: a\npassword: p4ss\ntoken: t\n", "needs"}, {"user: a\nuser: b\npassword: p4ss\n", "twice"},
		{"p4ss\n", "line 1"}, {"user: a\nPassword: p4ss\n", "line 2"}, {"user:\npassword: p4ss\n", "line 1"},
		{"user: a\npassword:   \n", "line 2"},
	};
	char why[SASL_MOST_WHY];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_null(sasl_credential_read(bad[i].text, strlen(bad[i].text), why));
		if (!strstr(why, bad[i].why) || strstr(why, "p4ss"))
			fail_msg("%zu: %s", i, why);
	}
	assert_null(sasl_credential_read("user: a\0", 9, why));
	static const char good[] = "# for the forms\n\nuser: a@b\r\npassword:  two words: #1 ";
	struct sasl_credential *c = sasl_credential_read(good, sizeof good - 1, why);
	assert_non_null(c);
	assert_string_equal(c->user, "a@b");
	assert_string_equal(c->password, "two words: #1 ");
	assert_null(c->token);
	c = sasl_credential_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc2195_cram_md5),
		cmocka_unit_test(rfc4616_plain_and_login),
		cmocka_unit_test(rfc7628_oauthbearer_and_xoauth2),
		cmocka_unit_test(rfc5802_rfc7677_scram),
		cmocka_unit_test(a_relay_that_does_not_know_the_password_is_not_believed),
		cmocka_unit_test(rfc4954_the_password_is_told_under_tls_alone),
		cmocka_unit_test(credentials_are_read_strictly_and_never_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
