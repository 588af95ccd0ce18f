/* lib/mail: addresses, routes, admission. Windows: mail_window_test.c. */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/units.h"
#include "mail/mail.h"
#include "mail/window.h"

#define N(a) (sizeof(a) / sizeof *(a))

/* ---- addresses ---- */

struct address_row {
	const char *s;
	bool ok, utf8;
};

static const char long_local[] =
    "0123456789012345678901234567890123456789012345678901234567890123";

static void
RFC_5321_4_1_2_mailbox_syntax(void **state)
{
	static const struct address_row row[] = {
		{"a@b", true, false},
		{"a@example.org", true, false},
		{"a.b.c@example.org", true, false},
		{"!#$%&'*+-/=?^_`{|}~@example.org", true, false},
		{"a%evil.org@example.org", true, false},
		{"evil.org!a@example.org", true, false},
		{"\"a b\"@example.org", true, false},
		{"\"\"@example.org", true, false},
		{"\"a@b\"@example.org", true, false},
		{"\"a\\\"b\\\\\"@example.org", true, false},
		{"a@1.2.3.4", true, false},
		{"a@3com.example", true, false},
		{"a@x-y.example", true, false},
		{"a@[192.0.2.1]", true, false},
		{"a@[IPv6:2001:db8::1]", true, false},
		{"a@[ipv6:::1]", true, false},
		{"a@[IPv6:::ffff:192.0.2.1]", true, false},
		{"", false, false},
		{"a", false, false},
		{"@", false, false},
		{"a@", false, false},
		{"@b", false, false},
		{"<a@b>", false, false},
		{"a@b>", false, false},
		{".a@b", false, false},
		{"a.@b", false, false},
		{"a..b@c", false, false},
		{"a@b@c", false, false},
		{"x@@example.com", false, false},
		{"a b@c", false, false},
		{"a\t@c", false, false},
		{"a\r\n@c", false, false},
		{"a,b@c", false, false},
		{"a:b@c", false, false},
		{"a@b c", false, false},
		{"a@b\r\nRCPT TO:<c@d>", false, false},
		{"a@.b", false, false},
		{"a@b.", false, false},
		{"a@b..c", false, false},
		{"a@-b", false, false},
		{"a@b-", false, false},
		{"a@b-.c", false, false},
		{"a@b.-c", false, false},
		{"a@b_c", false, false},
		{"a@b/c", false, false},
		{"@hop.org:a@example.org", false, false},
		{"@hop.org,@hop2.org:a@example.org", false, false},
		{"\"a@example.org", false, false},
		{"\"a\"b@example.org", false, false},
		{"\"a\\\"@example.org", false, false},
		{"\"a\rb\"@example.org", false, false},
		{"\"a\"", false, false},
		{"a@[192.0.2.1", false, false},
		{"a@[192.0.2]", false, false},
		{"a@[192.0.2.256]", false, false},
		{"a@[192.0.2.01]", false, false},
		{"a@[2001:db8::1]", false, false},
		{"a@[IPv6:192.0.2.1]", false, false},
		{"a@[IPv6:]", false, false},
		{"a@[]", false, false},
		{"a@[tag:x]", false, false},
		{"a@[192.0.2.1].org", false, false},
		{"\303\244@example.org", false, false},
		{"\303\244@example.org", true, true},
		{"\"\303\244\"@example.org", true, true},
		{"a@\303\244.example", true, true},
		{"a@\303\244.example", false, false},
		{"\303@example.org", false, true},
		{"a@\355\240\200.example", false, true},          /* a surrogate */
		{"a\342\200\256b@example.org", false, true},      /* turns the writing */
		{"a@b\342\200\213c.example", false, true},        /* no width */
		{"a@b\343\200\202example", false, true},          /* another full stop */
	};

	(void)state;
	for (size_t i = 0; i < N(row); i++) {
		const char *why = NULL;
		bool ok = mail_address_ok(row[i].s, row[i].utf8, &why);

		if (ok != row[i].ok)
			print_error("%s: %s\n", row[i].s, why ? why : "taken");
		assert_int_equal(ok, row[i].ok);
		assert_int_equal(why == NULL, ok);
		assert_int_equal(mail_address_ok(row[i].s, row[i].utf8, NULL), ok);
	}
}

/* The grammar once more, as one expression; short strings reach no length. */
static void
RFC_5321_4_1_2_all_short_strings(void **state)
{
	static const char grammar[] =
	    "^([a%-]+(\\.[a%-]+)*|\"([]a@.%[-]|\\\\[]a@.%[\"\\-])*\")@a(-*a)*(\\.a(-*a)*)*$";
	static const char letter[] = {'a', '@', '.', '"', '\\', '-', '%', '['};
	regex_t re;
	char s[8];
	size_t most = 1, taken = 0;

	(void)state;
	assert_int_equal(regcomp(&re, grammar, REG_EXTENDED | REG_NOSUB), 0);
	for (size_t len = 1; len <= 6; len++) {
		most *= N(letter);
		for (size_t x = 0; x < most; x++) {
			bool ok;

			for (size_t i = 0, y = x; i < len; i++, y /= N(letter))
				s[i] = letter[y % N(letter)];
			s[len] = 0;
			ok = mail_address_ok(s, false, NULL);
			taken += ok;
			if (ok != (regexec(&re, s, 0, NULL, 0) == 0))
				print_error("%s\n", s);
			assert_int_equal(ok, regexec(&re, s, 0, NULL, 0) == 0);
		}
	}
	assert_true(taken > 100);
	regfree(&re);
}

static void
RFC_5321_4_5_3_1_lengths(void **state)
{
	char s[400];
	const char *why;
	size_t n;

	(void)state;
	snprintf(s, sizeof s, "%s@b", long_local);
	assert_true(mail_address_ok(s, false, &why));
	snprintf(s, sizeof s, "%sx@b", long_local);
	assert_false(mail_address_ok(s, false, &why));
	assert_non_null(strstr(why, "64"));
	/* A label of 63, and one of 64. */
	snprintf(s, sizeof s, "a@%.63s.org", long_local);
	assert_true(mail_address_ok(s, false, &why));
	snprintf(s, sizeof s, "a@%.64s.org", long_local);
	assert_false(mail_address_ok(s, false, &why));
	/* A path of 254, and one of 255. */
	n = (size_t)snprintf(s, sizeof s, "%.60s@%.60s.%.60s.%.60s.", long_local, long_local,
	    long_local, long_local);
	memset(s + n, 'x', 254 - n);
	s[254] = 0;
	assert_true(mail_address_ok(s, false, &why));
	s[254] = 'x';
	s[255] = 0;
	assert_false(mail_address_ok(s, false, &why));
	assert_non_null(strstr(why, "254"));
}

static void
a_NUL_inside_is_no_address(void **state)
{
	struct mail_address a = {.nlocal = 77};

	(void)state;
	assert_false(mail_address_read("a\0b@c", 5, true, &a, NULL));
	assert_false(mail_address_read("a@b\0c", 5, true, &a, NULL));
	assert_int_equal(a.nlocal, 77); /* set on success only */
}

static struct policy_pattern
pat(enum policy_pattern_kind kind, const char *local, const char *domain)
{
	return (struct policy_pattern){.kind = kind, .local = local, .domain = domain,
	    .at = TEXT_NO_SPAN};
}

static void
COL_22_only_the_domain_after_the_last_at(void **state)
{
	struct policy_pattern p = pat(POLICY_PATTERN_DOMAIN, NULL, "columbia.edu");
	struct policy_pattern below = pat(POLICY_PATTERN_BELOW, NULL, "columbia.edu");

	(void)state;
	assert_true(mail_pattern_match(&p, "x@columbia.edu"));
	assert_true(mail_pattern_match(&p, "x@COLUMBIA.Edu"));
	assert_true(mail_pattern_match(&p, "\"x@evil.org\"@columbia.edu"));
	assert_true(mail_pattern_match(&p, "x%evil.org@columbia.edu"));
	assert_false(mail_pattern_match(&p, "x@columbia.edu.evil"));
	assert_false(mail_pattern_match(&p, "x@notcolumbia.edu"));
	assert_false(mail_pattern_match(&p, "x@cs.columbia.edu"));
	assert_false(mail_pattern_match(&p, "\"x@columbia.edu\"@evil.org"));
	assert_false(mail_pattern_match(&p, "\"x@columbia.edu"));
	assert_false(mail_pattern_match(&p, "x@columbia.edu."));
	assert_false(mail_pattern_match(&p, "x@evil.org@columbia.edu"));
	assert_false(mail_pattern_match(&p, "@columbia.edu:x@evil.org"));
	assert_false(mail_pattern_match(&p, ""));

	assert_true(mail_pattern_match(&below, "x@cs.columbia.edu"));
	assert_true(mail_pattern_match(&below, "x@a.cs.Columbia.EDU"));
	assert_false(mail_pattern_match(&below, "x@columbia.edu"));
	assert_false(mail_pattern_match(&below, "x@notcolumbia.edu"));
	assert_false(mail_pattern_match(&below, "x@columbia.edu.evil"));
}

/* Letters that look alike, and the same name in its two spellings: A-labels are compared, as bytes. */
static void
a_domain_of_mixed_scripts_matches_no_other(void **state)
{
	struct policy_pattern plain = pat(POLICY_PATTERN_DOMAIN, NULL, "example.org");
	struct policy_pattern below = pat(POLICY_PATTERN_BELOW, NULL, "example.org");
	struct policy_pattern wide = pat(POLICY_PATTERN_DOMAIN, NULL, "xn--bcher-kva.example");

	(void)state;
	assert_false(mail_pattern_match(&plain, "x@ex\xd0\xb0mple.org"));          /* a Cyrillic a */
	assert_false(mail_pattern_match(&plain, "x@\xef\xbd\x85xample.org"));      /* a wide e */
	assert_false(mail_pattern_match(&plain, "x@example\xe3\x80\x82org"));      /* another full stop */
	assert_false(mail_pattern_match(&plain, "x@xn--exmple-4nf.org"));
	assert_false(mail_pattern_match(&below, "x@\xd0\xb0.ex\xd0\xb0mple.org"));
	assert_false(mail_pattern_match(&below, "x@evil.org\xe3\x80\x82.example.org"));
	assert_true(mail_pattern_match(&wide, "x@xn--bcher-kva.example"));
	assert_true(mail_pattern_match(&wide, "x@XN--BCHER-KVA.example"));
	assert_false(mail_pattern_match(&wide, "x@b\xc3\xbc" "cher.example"));
}

static void
RFC_5321_2_4_local_part_keeps_its_case(void **state)
{
	struct policy_pattern p = pat(POLICY_PATTERN_ADDRESS, "Forms", "example.org");
	struct policy_pattern q = pat(POLICY_PATTERN_ADDRESS, "\"a b\"", "example.org");
	struct policy_pattern r = pat(POLICY_PATTERN_ADDRESS, "ab", "example.org");

	(void)state;
	assert_true(mail_pattern_match(&p, "Forms@EXAMPLE.org"));
	assert_false(mail_pattern_match(&p, "forms@example.org"));
	assert_false(mail_pattern_match(&p, "Forms2@example.org"));
	assert_false(mail_pattern_match(&p, "Form@example.org"));
	/* 4.1.2: quotes and backslashes are spelling, not part of the name. */
	assert_true(mail_pattern_match(&p, "\"Forms\"@example.org"));
	assert_true(mail_pattern_match(&p, "\"F\\orms\"@example.org"));
	assert_true(mail_pattern_match(&q, "\"a\\ b\"@example.org"));
	assert_false(mail_pattern_match(&q, "\"ab\"@example.org"));
	assert_false(mail_pattern_match(&r, "\"a\\\"b\"@example.org"));
	assert_false(mail_pattern_match(&r, "\"ab\\\\\"@example.org"));
}

static void
the_null_sender_matches_its_own_pattern_only(void **state)
{
	struct policy_pattern any = pat(POLICY_PATTERN_ANY, NULL, NULL);
	struct policy_pattern null = pat(POLICY_PATTERN_NULL, NULL, NULL);

	(void)state;
	assert_true(mail_pattern_match(&null, ""));
	assert_false(mail_pattern_match(&null, "a@b"));
	assert_false(mail_pattern_match(&any, ""));
	assert_true(mail_pattern_match(&any, "a@b"));
}

static void
units_say_what_the_language_reads(void **state)
{
	static const struct {
		uint64_t n;
		const char *size, *time;
	} row[] = {
		{0, "0 bytes", "0 s"},
		{1, "1 byte", "second"},
		{60, "60 bytes", "minute"},
		{90, "90 bytes", "90 s"},
		{600, "600 bytes", "10 min"},
		{3600, "3600 bytes", "hour"},
		{86400, "86400 bytes", "day"},
		{129600, "129600 bytes", "36 h"},
		{172800, "172800 bytes", "2 days"},
		{5000000, "5 MB", "5000000 s"},
		{5242880, "5 MiB", "5242880 s"},
		{100000000, "100 MB", "100000000 s"},
		{100000001, "100000001 bytes", "100000001 s"},
		{UINT64_C(1) << 30, "1 GiB", "1073741824 s"},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < N(row); i++) {
		assert_string_equal(units_size(row[i].n, out), row[i].size);
		assert_string_equal(units_time(row[i].n, out), row[i].time);
	}
	assert_string_equal(units_size(UINT64_MAX, out), "18446744073709551615 bytes");
}

/* ---- a policy by hand ---- */

enum { MX, SER, SEND, NRELAY };

struct world {
	struct arena *a;
	struct policy p;
	struct policy_relay relay[NRELAY];
	struct policy_rate rate;
	struct policy_application app[3]; /* forms, cron, scan */
	struct policy_pattern mx_to[2];
	struct mail_windows *w;
	struct mail_verdict v;
};

static struct policy_meta
meta(const char *name)
{
	return (struct policy_meta){.at = TEXT_NO_SPAN, .name = name, .days = POLICY_ALWAYS};
}

static void
add_route(struct world *x, enum policy_pattern_kind kind, const char *local, const char *domain,
    const struct policy_relay *via)
{
	struct policy_submission *s = &x->p.submission;
	struct policy_route *r = &ARENA_PUSH(x->a, s->route, s->nroute, s->caproute);

	r->meta = meta(NULL);
	ARENA_PUSH(x->a, r->to.v, r->to.n, r->to.cap) = pat(kind, local, domain);
	r->via = via;
}

static void
add_pair(struct world *x, struct policy_application *app, struct policy_pattern envelope,
    struct policy_pattern header)
{
	ARENA_PUSH(x->a, app->sender, app->nsender, app->capsender) =
	    (struct policy_sender_pair){.at = TEXT_NO_SPAN, .envelope = envelope, .header = header};
}

static struct policy_mail_limit *
add_limit(struct world *x, struct policy_mail_limits *list, uint64_t most,
    enum policy_count count, enum policy_window window, enum policy_over over)
{
	struct policy_mail_limit *l = &ARENA_PUSH(x->a, list->v, list->n, list->cap);

	*l = (struct policy_mail_limit){.meta = meta(NULL), .most = most, .count = count,
	    .window = window, .seconds = window == POLICY_PER_SECONDS ? 3600 : 0, .over = over};
	return l;
}

static int
setup(void **state)
{
	struct arena *a = arena_new();
	struct world *x = arena_of(a, struct world);
	struct policy_submission *s = &x->p.submission;
	static const char *const name[NRELAY] = {"mx", "ser", "send"};
	static const char *const app[3] = {"forms", "cron", "scan"};

	x->a = a;
	x->p.meta = meta("test");
	x->p.meta.contact = "help@inst.example.org";
	for (int i = 0; i < NRELAY; i++) {
		x->relay[i].meta = meta(name[i]);
		x->relay[i].index = (uint32_t)i;
		x->relay[i].size.at = TEXT_NO_SPAN;
	}
	x->mx_to[0] = pat(POLICY_PATTERN_DOMAIN, NULL, "columbia.edu");
	x->mx_to[1] = pat(POLICY_PATTERN_DOMAIN, NULL, "hosted.example.org");
	x->relay[MX].class = POLICY_CLASS_DEVICE;
	x->relay[MX].recipients = (struct policy_patterns){.v = x->mx_to, .n = 2};
	x->relay[SER].class = POLICY_CLASS_DEVICE;
	x->relay[SER].auth = POLICY_AUTH_PASSWORD;
	x->relay[SER].senders_registered = true;
	x->relay[SER].registration = true;
	x->relay[SER].size = (struct policy_size){.set = true, .strict = true, .bytes = 5000000,
	    .at = TEXT_NO_SPAN};
	x->relay[SEND].class = POLICY_CLASS_PERSONAL;
	s->present = true;
	s->at = TEXT_NO_SPAN;
	add_route(x, POLICY_PATTERN_ANY, NULL, NULL, &x->relay[SER]);
	add_route(x, POLICY_PATTERN_DOMAIN, NULL, "columbia.edu", &x->relay[MX]);
	x->rate.meta = meta("web-application");
	for (int i = 0; i < 3; i++) {
		x->app[i].meta = meta(app[i]);
		x->app[i].kind = &x->rate;
		ARENA_PUSH(a, s->application, s->napplication, s->capapplication) = &x->app[i];
	}
	x->app[0].user = "www-data";
	x->app[0].unit = "system.slice/forms.service";
	add_pair(x, &x->app[0], pat(POLICY_PATTERN_ADDRESS, "bounce", "forms.example.org"),
	    pat(POLICY_PATTERN_LOCAL_ANY, NULL, "inst.example.org"));
	x->app[1].unit = "cron.service";
	x->app[1].rewrite = pat(POLICY_PATTERN_ADDRESS, "cron", "inst.example.org");
	add_pair(x, &x->app[1], x->app[1].rewrite, x->app[1].rewrite);
	x->app[2].user = "scan";
	x->w = mail_windows_new(a);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct world *x = *state;

	arena_free(x->a);
	return 0;
}

/* Sends to a list of at most 8, NULL-terminated. */
static const struct mail_verdict *
send_at(struct world *x, uint64_t now, struct policy_message msg, const char *to, ...)
{
	const char **v = arena_array(x->a, 9, const char *);
	va_list ap;

	va_start(ap, to);
	for (; to && msg.nto < 8; to = va_arg(ap, const char *))
		v[msg.nto++] = to;
	va_end(ap);
	msg.to = v;
	mail_admit(x->a, &x->p, &msg, x->w, now, &x->v);
	return &x->v;
}

#define FORMS .application = "forms", .from = "bounce@forms.example.org"
#define HEADER(...) .header = (const char *[]){__VA_ARGS__}, \
	.nheader = N(((const char *[]){__VA_ARGS__}))

static void
is_reply(const struct mail_reply *r, unsigned code, const char *enhanced, const char *word)
{
	if (r->code != code || strcmp(r->enhanced, enhanced) || !strstr(r->text, word))
		print_error("%u %s %s\n", r->code, r->enhanced, r->text);
	assert_int_equal(r->code, code);
	assert_string_equal(r->enhanced, enhanced);
	assert_non_null(strstr(r->text, word));
	assert_non_null(r->rule);
	assert_true(strlen(r->text) <= 480);
	/* 2034: the class is the first digit of the code. */
	assert_int_equal(enhanced[0], (int)('0' + code / 100));
}

static void
all_refused(const struct mail_verdict *v)
{
	for (size_t i = 0; i < v->nrecipient; i++) {
		assert_null(v->recipient[i].relay);
		assert_true(v->recipient[i].reply.code >= 400);
	}
}

/* ---- who ---- */

static void
application_by_user_and_unit_the_fuller_wins(void **state)
{
	struct world *x = *state;

	assert_ptr_equal(mail_application(&x->p, "www-data", "forms.service"), &x->app[0]);
	assert_ptr_equal(mail_application(&x->p, "www-data", "/system.slice/forms.service"), &x->app[0]);
	assert_ptr_equal(mail_application(&x->p, "www-data", "system.slice/forms.service/worker"), &x->app[0]);
	assert_null(mail_application(&x->p, "www-data", "forms.service2"));
	assert_null(mail_application(&x->p, "www-data", "user.slice/forms.service"));
	assert_null(mail_application(&x->p, "www-data", NULL));
	assert_null(mail_application(&x->p, "root", "forms.service"));
	assert_null(mail_application(&x->p, NULL, NULL));
	assert_ptr_equal(mail_application(&x->p, "anyone", "cron.service"), &x->app[1]);
	assert_ptr_equal(mail_application(&x->p, "scan", "cron.service"), &x->app[1]);
	assert_ptr_equal(mail_application(&x->p, "scan", NULL), &x->app[2]);
	x->app[2].unit = "cron.service";
	assert_ptr_equal(mail_application(&x->p, "scan", "cron.service"), &x->app[2]);
	/* A registration that names neither is known by name alone. */
	x->app[2].user = x->app[2].unit = NULL;
	assert_null(mail_application(&x->p, "scan", NULL));
}

static void
COL_32_COL_34_pending_and_suspended_send_nothing(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	x->app[0].state = POLICY_PENDING;
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	is_reply(&v->reply, 550, "5.7.1", "pending");
	all_refused(v);
	x->app[0].state = POLICY_SUSPENDED;
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	is_reply(&v->reply, 550, "5.7.1", "suspended");
	x->app[0].state = POLICY_REGISTERED;
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
}

static void
a_registration_ends_with_its_date(void **state)
{
	struct world *x = *state;

	x->app[0].meta.days.since = 1000;
	x->app[0].meta.days.until = 2000;
	is_reply(&send_at(x, 999, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    550, "5.7.1", "not begun");
	is_reply(&send_at(x, 1000, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 1999, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 2000, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    550, "5.7.1", "ended");
}

static void
COR_02_unregistered_programs(void **state)
{
	struct world *x = *state;
	struct policy_message msg = {.user = "www-data", .from = "a@b.example"};
	const struct mail_verdict *v;

	v = send_at(x, 0, msg, "x@columbia.edu", NULL);
	assert_null(v->application);
	assert_ptr_equal(v->recipient[0].relay, &x->relay[MX]);
	/* COL-25: the relay to the outside wants a registration. */
	is_reply(&send_at(x, 0, msg, "x@example.com", NULL)->reply, 550, "5.7.1", "registered");
	/* Either wish of a relay is enough for that. */
	x->relay[SER].senders_registered = false;
	is_reply(&send_at(x, 0, msg, "x@example.com", NULL)->reply, 550, "5.7.1",
	    "registered applications only");
	x->relay[SER].registration = false;
	is_reply(&send_at(x, 0, msg, "x@example.com", NULL)->reply, 250, "2.0.0", "ser");
	x->relay[SER].senders_registered = true;
	is_reply(&send_at(x, 0, msg, "x@example.com", NULL)->reply, 550, "5.7.1",
	    "registered senders only");
	x->p.submission.unregistered_via = &x->relay[SEND];
	v = send_at(x, 0, msg, "x@columbia.edu", NULL);
	assert_ptr_equal(v->recipient[0].relay, &x->relay[SEND]);
	x->p.submission.unregistered_refuse = true;
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "not registered");
	msg = (struct policy_message){.application = "nobody", .from = "a@b.example"};
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "nobody");
	x->p.submission.present = false;
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "no submission");
}

/* ---- as whom ---- */

static void
CAM_16_syntax_of_every_address(void **state)
{
	struct world *x = *state;
	struct policy_message msg = {.user = "alice", .from = "alice..b@example.net"};
	const struct mail_verdict *v;

	v = send_at(x, 0, msg, "x@columbia.edu", NULL);
	is_reply(&v->reply, 501, "5.1.7", "two full stops");
	all_refused(v);
	msg.from = "alice@example.net";
	v = send_at(x, 0, msg, "x@@columbia.edu", "y@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	is_reply(&v->recipient[0].reply, 501, "5.1.3", "x@@columbia.edu");
	is_reply(&v->recipient[1].reply, 250, "2.1.5", "mx");
	v = send_at(x, 0, msg, "x@@columbia.edu", NULL);
	is_reply(&v->reply, 501, "5.1.3", "x@@columbia.edu");
	msg.header = (const char *[]){"alice@example.net", "alice@"};
	msg.nheader = 2;
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 553, "5.1.7", "From field");
	msg = (struct policy_message){.user = "alice", .from = "alice@example.net"};
	is_reply(&send_at(x, 0, msg, NULL)->reply, 554, "5.5.1", "no recipient");
}

static void
RFC_5321_4_5_1_postmaster_alone(void **state)
{
	struct world *x = *state;
	struct policy_message msg = {.user = "alice", .from = "alice@example.net"};

	x->p.submission.unregistered_via = &x->relay[SEND];
	is_reply(&send_at(x, 0, msg, "PostMaster", NULL)->reply, 250, "2.0.0", "send");
	is_reply(&send_at(x, 0, msg, "postmasters", NULL)->reply, 501, "5.1.3", "postmasters");
	is_reply(&send_at(x, 0, msg, "postmaste", NULL)->reply, 501, "5.1.3", "no @");
	/* A relay for its own domains does not take it for granted. */
	x->p.submission.unregistered_via = &x->relay[MX];
	is_reply(&send_at(x, 0, msg, "postmaster", NULL)->reply, 550, "5.7.1", "does not take");
}

static void
COL_29_COR_03_pairs_of_envelope_and_header(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	v = send_at(x, 0, (struct policy_message){FORMS, HEADER("a@inst.example.org")},
	    "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
	assert_string_equal(v->sender, "bounce@forms.example.org");
	assert_false(v->rewritten);
	v = send_at(x, 0, (struct policy_message){FORMS,
	    HEADER("a@inst.example.org", "b@INST.example.org")}, "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
	/* One of several that does not match is one too many. */
	v = send_at(x, 0, (struct policy_message){FORMS,
	    HEADER("a@inst.example.org", "president@example.org")}, "x@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "president@example.org (From field)");
	all_refused(v);
	v = send_at(x, 0, (struct policy_message){FORMS, HEADER("a@sub.inst.example.org")},
	    "x@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "help@inst.example.org");
	v = send_at(x, 0, (struct policy_message){.application = "forms",
	    .from = "a@inst.example.org", HEADER("a@inst.example.org")}, "x@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "a@inst.example.org");
	assert_string_equal(v->reply.rule, "application forms: senders");
	/* Envelope of one pair and From of another are no pair. */
	add_pair(x, &x->app[0], pat(POLICY_PATTERN_ADDRESS, "b", "other.example"),
	    pat(POLICY_PATTERN_ADDRESS, "h", "other.example"));
	v = send_at(x, 0, (struct policy_message){FORMS, HEADER("h@other.example")},
	    "x@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "h@other.example");
	/* Until the From field is known, the envelope alone is judged. */
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
}

static void
a_relay_for_registered_senders_wants_some(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	/* scan has no senders of its own: mx takes it, ser does not. */
	v = send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	v = send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", "y@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "registered senders");
	all_refused(v);
}

static void
CAM_17_null_sender_only_where_the_policy_says_so(void **state)
{
	struct world *x = *state;
	struct policy_pattern null = pat(POLICY_PATTERN_NULL, NULL, NULL);
	struct policy_message msg = {.application = "forms", .from = ""};

	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "<>");
	/* Without a list of senders, too. */
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = ""},
	    "x@columbia.edu", NULL)->reply, 550, "5.7.1", "<>");
	/* And a rewrite does not give a report an address to answer to. */
	is_reply(&send_at(x, 0, (struct policy_message){.application = "cron", .from = ""},
	    "x@columbia.edu", NULL)->reply, 550, "5.7.1", "<>");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "alice", .from = ""},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	add_pair(x, &x->app[0], null, pat(POLICY_PATTERN_ADDRESS, "postmaster", "inst.example.org"));
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	msg.header = (const char *[]){"postmaster@inst.example.org"};
	msg.nheader = 1;
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	msg.header = (const char *[]){"a@inst.example.org"};
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "From field");
}

static void
CAM_18_rewrite_stands_in_for_an_unregistered_sender(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	v = send_at(x, 0, (struct policy_message){.application = "cron", .from = "root@server",
	    HEADER("root@server")}, "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
	assert_true(v->rewritten);
	assert_string_equal(v->sender, "cron@inst.example.org");
	/* cron's "root (Cron Daemon)" names no domain at all. */
	v = send_at(x, 0, (struct policy_message){.application = "cron", .from = "root",
	    HEADER("root")}, "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
	assert_string_equal(v->sender, "cron@inst.example.org");
	/* What is registered stays. */
	v = send_at(x, 0, (struct policy_message){.application = "cron",
	    .from = "cron@inst.example.org", HEADER("cron@inst.example.org")}, "x@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "ser");
	assert_false(v->rewritten);
	/* A good envelope with a From field that is none. */
	v = send_at(x, 0, (struct policy_message){.application = "cron",
	    .from = "cron@inst.example.org", HEADER("root")}, "x@example.com", NULL);
	assert_true(v->rewritten);
	/* `*@domain` keeps who it was. */
	x->app[1].rewrite = pat(POLICY_PATTERN_LOCAL_ANY, NULL, "inst.example.org");
	v = send_at(x, 0, (struct policy_message){.application = "cron", .from = "backup@server"},
	    "x@example.com", NULL);
	assert_string_equal(v->sender, "backup@inst.example.org");
	/* Nothing that is no address comes out, and others get no rewrite. */
	v = send_at(x, 0, (struct policy_message){.application = "cron", .from = "a\r\nb"},
	    "x@example.com", NULL);
	is_reply(&v->reply, 550, "5.7.1", "a??b");
	v = send_at(x, 0, (struct policy_message){.application = "forms", .from = "root"},
	    "x@example.com", NULL);
	is_reply(&v->reply, 501, "5.1.7", "no @");
}

/* ---- by which relay ---- */

static void
the_most_specific_route_wins_in_any_order(void **state)
{
	struct world *x = *state;
	struct mail_route r;

	add_route(x, POLICY_PATTERN_BELOW, NULL, "edu", &x->relay[SEND]);
	add_route(x, POLICY_PATTERN_BELOW, NULL, "columbia.edu", &x->relay[MX]);
	add_route(x, POLICY_PATTERN_ADDRESS, "dean", "columbia.edu", &x->relay[SEND]);
	add_route(x, POLICY_PATTERN_DOMAIN, NULL, "columbia.edu", &x->relay[SER]); /* too late */
	for (int turn = 0; turn < 2; turn++) {
		struct policy_submission *s = &x->p.submission;

		mail_route(x->a, &x->p, NULL, "x@columbia.edu", 0, &r);
		assert_ptr_equal(r.relay, &x->relay[turn ? SER : MX]);
		mail_route(x->a, &x->p, NULL, "dean@columbia.edu", 0, &r);
		assert_ptr_equal(r.relay, &x->relay[SEND]);
		assert_string_equal(r.rule, "route to dean@columbia.edu");
		mail_route(x->a, &x->p, NULL, "x@cs.columbia.edu", 0, &r);
		assert_ptr_equal(r.relay, &x->relay[MX]);
		assert_string_equal(r.rule, "route to @*.columbia.edu");
		mail_route(x->a, &x->p, NULL, "x@yale.edu", 0, &r);
		assert_ptr_equal(r.relay, &x->relay[SEND]);
		mail_route(x->a, &x->p, NULL, "x@example.com", 0, &r);
		assert_ptr_equal(r.relay, &x->relay[SER]);
		/* Turned round, only the two equal ones change. */
		for (size_t i = 0; i < s->nroute / 2; i++) {
			struct policy_route t = s->route[i];

			s->route[i] = s->route[s->nroute - 1 - i];
			s->route[s->nroute - 1 - i] = t;
		}
	}
	x->app[0].via = &x->relay[SEND];
	mail_route(x->a, &x->p, &x->app[0], "x@columbia.edu", 0, &r);
	assert_ptr_equal(r.relay, &x->relay[SEND]);
	assert_string_equal(r.rule, "application forms: via");
}

static void
a_route_out_of_its_dates_leads_nowhere(void **state)
{
	struct world *x = *state;
	struct policy_message msg = {.user = "alice", .from = "a@b.example"};

	x->p.submission.route[1].meta.days.until = 50;
	x->p.submission.route[0].meta.days.until = 50;
	is_reply(&send_at(x, 49, msg, "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 50, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "no route");
	x->relay[MX].meta.days.until = 30;
	is_reply(&send_at(x, 29, msg, "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 30, msg, "x@columbia.edu", NULL)->reply, 550, "5.7.1", "not in use");
}

static void
COL_26_a_message_for_both_is_split(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	v = send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", "y@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "accepted");
	assert_ptr_equal(v->recipient[0].relay, &x->relay[MX]);
	assert_ptr_equal(v->recipient[1].relay, &x->relay[SER]);
	assert_false(v->recipient[0].auth);
	assert_true(v->recipient[1].auth);
	assert_string_equal(v->recipient[1].reply.rule, "route to any");
}

static void
COL_22_a_relay_takes_its_recipients_only(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	x->app[2].via = &x->relay[MX];
	v = send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@hosted.example.org", "x@columbia.edu.evil", "x@notcolumbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	is_reply(&v->recipient[1].reply, 550, "5.7.1", "x@columbia.edu.evil");
	is_reply(&v->recipient[2].reply, 550, "5.7.1", "x@notcolumbia.edu");
	v = send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@notcolumbia.edu", "y@nowhere.example", NULL);
	is_reply(&v->reply, 550, "5.7.1", "x@notcolumbia.edu");
	all_refused(v);
}

static void
AUTH_for_some_recipients_only(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;
	struct policy_pattern to = pat(POLICY_PATTERN_BELOW, NULL, "example.com");

	x->relay[SER].auth_recipients = (struct policy_patterns){.v = &to, .n = 1};
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@a.example.com", "x@example.com", NULL);
	assert_true(v->recipient[0].auth);
	assert_false(v->recipient[1].auth);
}

static void
COL_09_no_device_mail_by_a_personal_relay(void **state)
{
	struct world *x = *state;

	x->app[2].via = &x->relay[SEND];
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "send");
	x->rate.class = POLICY_CLASS_DEVICE;
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 550, "5.7.1", "personal");
	x->rate.class = POLICY_CLASS_PERSONAL;
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "send");
}

static void
COL_30_CAM_19_X_02_strict_and_inclusive_sizes(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	is_reply(&send_at(x, 0, (struct policy_message){FORMS, .size = 4999999}, "x@example.com",
	    NULL)->reply, 250, "2.0.0", "ser");
	v = send_at(x, 0, (struct policy_message){FORMS, .size = 5000000}, "x@example.com", NULL);
	is_reply(&v->reply, 552, "5.3.4", "below 5 MB");
	assert_string_equal(v->reply.rule, "relay ser: message-size");
	/* For the whole message, though mx would take it. */
	v = send_at(x, 0, (struct policy_message){FORMS, .size = 5000000}, "x@columbia.edu",
	    "x@example.com", NULL);
	is_reply(&v->reply, 552, "5.3.4", "below 5 MB");
	all_refused(v);
	is_reply(&send_at(x, 0, (struct policy_message){FORMS, .size = 5000000}, "x@columbia.edu",
	    NULL)->reply, 250, "2.0.0", "mx");
	x->relay[SER].size.strict = false;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS, .size = 5000000}, "x@example.com",
	    NULL)->reply, 250, "2.0.0", "ser");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS, .size = 5000001}, "x@example.com",
	    NULL)->reply, 552, "5.3.4", "up to 5 MB");
}

static void
CAM_18_which_domains_need_an_MX(void **state)
{
	struct world *x = *state;
	const char *domain[] = {"cam.ac.uk"};

	x->p.submission.mx_required = domain;
	x->p.submission.nmx_required = 1;
	assert_true(mail_mx_required(&x->p, "x@cam.ac.uk"));
	assert_true(mail_mx_required(&x->p, "x@host.CAM.ac.uk"));
	assert_false(mail_mx_required(&x->p, "x@notcam.ac.uk"));
	assert_false(mail_mx_required(&x->p, "x@example.com"));
	assert_false(mail_mx_required(&x->p, "x@[192.0.2.1]"));
	assert_false(mail_mx_required(&x->p, ""));
}

static void
COL_39_a_refusal_names_whom_to_ask_and_stays_one_line(void **state)
{
	struct world *x = *state;
	char from[300], contact[600];
	const struct mail_verdict *v;

	memset(from, 'a', sizeof from);
	from[sizeof from - 1] = 0;
	memset(contact, 'c', sizeof contact);
	contact[sizeof contact - 1] = 0;
	x->app[0].meta.contact = "forms@inst.example.org\r\n250 2.0.0 ok \303\244";
	v = send_at(x, 0, (struct policy_message){.application = "forms", .from = from},
	    "x@columbia.edu", NULL);
	is_reply(&v->reply, 501, "5.1.7", "contact forms@inst.example.org??250");
	x->app[0].meta.contact = contact;
	v = send_at(x, 0, (struct policy_message){.application = "forms", .from = from},
	    "x@columbia.edu", NULL);
	is_reply(&v->reply, 501, "5.1.7", "; contact ccc");
	for (const char *s = v->reply.text; *s; s++)
		assert_in_range((unsigned char)*s, 32, 126);
}

/* ---- limits ---- */

static void
CAM_13_the_61st_message_in_an_hour_warns(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	add_limit(x, &x->p.submission.limits, 60, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_WARN)->each = POLICY_EACH_HOST;
	for (uint64_t i = 0; i < 60; i++)
		assert_int_equal(send_at(x, 100 + i, (struct policy_message){FORMS},
		    "x@columbia.edu", NULL)->nwarning, 0);
	v = send_at(x, 160, (struct policy_message){.user = "alice", .from = "a@b.example"},
	    "x@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	assert_int_equal(v->nwarning, 1);
	assert_non_null(strstr(v->warning[0], "60 messages per hour"));
	/* An hour after the first, that one has left the window. */
	v = send_at(x, 3700, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	assert_int_equal(v->nwarning, 1);
	v = send_at(x, 3702, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	assert_int_equal(v->nwarning, 0);
}

static void
CAM_14_over_the_limit_is_deferred_and_not_counted(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	add_limit(x, &x->app[0].limits, 2, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER);
	for (uint64_t t = 0; t < 2; t++)
		is_reply(&send_at(x, t, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
		    250, "2.0.0", "mx");
	for (uint64_t t = 2; t < 3600; t += 100) {
		v = send_at(x, t, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
		is_reply(&v->reply, 451, "4.7.1", "2 messages per hour");
		all_refused(v);
	}
	assert_string_equal(v->reply.rule, "application forms: limit 2 messages per hour");
	is_reply(&send_at(x, 3600, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	/* Another application is not in it. */
	is_reply(&send_at(x, 3600, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
}

static void
COR_08_a_kind_counts_for_each_application(void **state)
{
	struct world *x = *state;

	add_limit(x, &x->rate.limits, 1, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_REFUSE)->each = POLICY_EACH_APPLICATION;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    550, "5.7.1", "kind web-application");
	/* `each: all` is one count for everything of that kind. */
	x->rate.limits.v[0].each = POLICY_EACH_ALL;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 550, "5.7.1", "kind web-application");
}

static void
equal_limits_do_not_count_twice(void **state)
{
	struct world *x = *state;

	for (int i = 0; i < 2; i++)
		add_limit(x, &x->app[0].limits, 2, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
		    POLICY_OVER_DEFER);
	for (int i = 0; i < 3; i++)
		is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
		    i < 2 ? 250 : 451, i < 2 ? "2.0.0" : "4.7.1", i < 2 ? "mx" : "2 messages");
}

static void
the_whole_counts_what_its_relays_have_left(void **state)
{
	struct world *x = *state;

	add_limit(x, &x->relay[SER].limits, 0, POLICY_COUNT_RECIPIENTS, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER);
	add_limit(x, &x->p.submission.limits, 1, POLICY_COUNT_RECIPIENTS, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER);
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@example.com", "x@columbia.edu",
	    NULL)->reply, 250, "2.0.0", "mx");
	assert_int_equal(x->v.recipient[0].reply.code, 451);
}

static void
a_full_table_defers_and_never_refuses(void **state)
{
	struct world *x = *state;
	struct policy_mail_limit *l = add_limit(x, &x->p.submission.limits, 1, POLICY_COUNT_MESSAGES,
	    POLICY_PER_SECONDS, POLICY_OVER_REFUSE);
	struct policy_message msg = {.user = "u"};
	const struct mail_verdict *v;

	l->each = POLICY_EACH_SENDER;
	for (int i = 0; i < WINDOW_KEYS_MOST; i++) {
		msg.from = arena_printf(x->a, "%d@b.example", i);
		assert_int_equal(send_at(x, 0, msg, "x@columbia.edu", NULL)->reply.code, 250);
	}
	msg.from = "new@b.example";
	is_reply(&send_at(x, 0, msg, "x@columbia.edu", NULL)->reply, 451, "4.7.1", "too many windows");
	l->over = POLICY_OVER_WARN;
	v = send_at(x, 0, msg, "x@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	assert_int_equal(v->nwarning, 1);
	l->over = POLICY_OVER_REFUSE;
	is_reply(&send_at(x, 3600, msg, "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
}

static void
recipients_of_a_message_past_the_limit_wait(void **state)
{
	struct world *x = *state;
	struct policy_mail_limit *l;
	struct policy_pattern internal = pat(POLICY_PATTERN_DOMAIN, NULL, "columbia.edu");
	const struct mail_verdict *v;

	l = add_limit(x, &x->p.submission.limits, 2, POLICY_COUNT_RECIPIENTS, POLICY_PER_MESSAGE,
	    POLICY_OVER_DEFER);
	v = send_at(x, 0, (struct policy_message){FORMS}, "a@columbia.edu", "b@columbia.edu",
	    "c@example.com", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	is_reply(&v->recipient[2].reply, 452, "4.5.3", "further message");
	assert_null(v->recipient[2].relay);
	/* Recipients inside are not counted where the limit says so. */
	l->except = (struct policy_patterns){.v = &internal, .n = 1};
	v = send_at(x, 0, (struct policy_message){FORMS}, "a@columbia.edu", "b@columbia.edu",
	    "c@example.com", "d@example.com", NULL);
	assert_non_null(v->recipient[3].relay);
	l->over = POLICY_OVER_REFUSE;
	v = send_at(x, 0, (struct policy_message){FORMS}, "a@columbia.edu", "b@example.com",
	    "c@example.com", "d@example.com", NULL);
	is_reply(&v->reply, 550, "5.5.3", "fewer recipients");
	all_refused(v);
	l->count = POLICY_COUNT_BYTES;
	l->most = 1000;
	v = send_at(x, 0, (struct policy_message){FORMS, .size = 1001}, "b@example.com", NULL);
	is_reply(&v->reply, 552, "5.3.4", "1 kB per message");
}

static void
recipients_a_day_are_counted_exactly(void **state)
{
	struct world *x = *state;
	struct policy_mail_limit *l = add_limit(x, &x->app[0].limits, 5, POLICY_COUNT_RECIPIENTS,
	    POLICY_PER_SECONDS, POLICY_OVER_DEFER);

	l->seconds = 86400;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "a@columbia.edu", "b@columbia.edu",
	    "c@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 10, (struct policy_message){FORMS}, "a@columbia.edu", "b@columbia.edu",
	    "c@columbia.edu", NULL)->reply, 451, "4.7.1", "5 recipients per day");
	/* A refused recipient is none. */
	is_reply(&send_at(x, 20, (struct policy_message){FORMS}, "a@columbia.edu", "b@columbia.edu",
	    "no address", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 30, (struct policy_message){FORMS}, "a@columbia.edu", NULL)->reply,
	    451, "4.7.1", "later");
	is_reply(&send_at(x, 86400, (struct policy_message){FORMS}, "a@columbia.edu",
	    "b@columbia.edu", "c@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 200000, (struct policy_message){FORMS}, "1@columbia.edu", "2@columbia.edu",
	    "3@columbia.edu", "4@columbia.edu", "5@columbia.edu", "6@columbia.edu", NULL)->reply,
	    451, "4.7.1", "alone");
}

static void
a_relay_over_its_limit_defers_its_own_part(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	add_limit(x, &x->relay[SER].limits, 1, POLICY_COUNT_RECIPIENTS, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER);
	add_limit(x, &x->p.submission.limits, 3, POLICY_COUNT_RECIPIENTS, POLICY_PER_SECONDS,
	    POLICY_OVER_REFUSE);
	send_at(x, 0, (struct policy_message){FORMS}, "x@example.com", NULL);
	v = send_at(x, 0, (struct policy_message){FORMS}, "x@example.com", "x@columbia.edu", NULL);
	is_reply(&v->reply, 250, "2.0.0", "mx");
	is_reply(&v->recipient[0].reply, 451, "4.7.1", "relay ser");
	/* So the submission has counted two, not three. */
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    550, "5.7.1", "submission");
}

static void
windows_by_sender_and_by_relay(void **state)
{
	struct world *x = *state;
	struct policy_mail_limits *list = &x->p.submission.limits;

	add_limit(x, list, 1, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER)->each = POLICY_EACH_SENDER;
	is_reply(&send_at(x, 0, (struct policy_message){.user = "u", .from = "a@b.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "u", .from = "A@b.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "u", .from = "a@B.Example"},
	    "x@columbia.edu", NULL)->reply, 451, "4.7.1", "1 messages");
	list->v[0].each = POLICY_EACH_RELAY;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu",
	    NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@example.com",
	    "y@columbia.edu", NULL)->reply, 250, "2.0.0", "ser");
	assert_int_equal(x->v.recipient[1].reply.code, 451);
}

/* RFC 5321 4.1.1.4: after DATA one reply is for all recipients. */
static void
a_message_that_is_not_taken_whole_is_not_counted(void **state)
{
	struct world *x = *state;
	const char *both[] = {"x@columbia.edu", "no address"};
	struct policy_message msg = {FORMS, .to = both, .nto = 2};
	struct mail_verdict v;

	add_limit(x, &x->app[0].limits, 1, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_REFUSE)->seconds = 60;
	for (int i = 0; i < 3; i++) {
		mail_admit_whole(x->a, &x->p, &msg, x->w, NULL, 1000, &v);
		assert_int_equal(v.recipient[0].reply.code, 250);
		assert_int_equal(v.recipient[1].reply.code, 501);
	}
	msg.nto = 1;
	mail_admit_whole(x->a, &x->p, &msg, x->w, NULL, 1000, &v);
	assert_int_equal(v.reply.code, 250);
	mail_admit_whole(x->a, &x->p, &msg, x->w, NULL, 1000, &v);
	assert_int_equal(v.reply.code, 550);
}

static void
a_delay_accepts_and_spreads(void **state)
{
	struct world *x = *state;
	const struct mail_verdict *v;

	add_limit(x, &x->app[0].limits, 2, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_DELAY)->seconds = 60;
	for (uint64_t i = 0; i < 10; i++) {
		v = send_at(x, 1000, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
		is_reply(&v->reply, 250, "2.0.0", "mx");
		assert_int_equal(v->not_before, i < 2 ? 0 : 1000 + i / 2 * 60);
		assert_int_equal(v->nwarning, i >= 2);
	}
}

static void
limits_of_one_connection(void **state)
{
	struct world *x = *state;
	struct mail_session *s = mail_session_new(x->a);
	struct policy_message msg = {FORMS, .to = (const char *[]){"x@columbia.edu"}, .nto = 1};

	add_limit(x, &x->p.submission.limits, 2, POLICY_COUNT_MESSAGES, POLICY_PER_CONNECTION,
	    POLICY_OVER_DEFER);
	for (int i = 0; i < 3; i++)
		mail_admit_session(x->a, &x->p, &msg, x->w, s, (uint64_t)i * 10000, &x->v);
	is_reply(&x->v.reply, 451, "4.7.1", "new connection");
	mail_admit_session(x->a, &x->p, &msg, x->w, mail_session_new(x->a), 0, &x->v);
	is_reply(&x->v.reply, 250, "2.0.0", "mx");
}

static void
connections_have_their_own_limits(void **state)
{
	struct world *x = *state;

	add_limit(x, &x->p.submission.limits, 2, POLICY_COUNT_CONNECTIONS, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER)->each = POLICY_EACH_APPLICATION;
	for (int i = 0; i < 2; i++) {
		mail_connect(x->a, &x->p, "scan", NULL, x->w, 5, &x->v);
		is_reply(&x->v.reply, 220, "2.0.0", "ready");
	}
	mail_connect(x->a, &x->p, "scan", NULL, x->w, 5, &x->v);
	is_reply(&x->v.reply, 421, "4.7.0", "connect again later");
	/* Programs without a registration are told apart, too. */
	mail_connect(x->a, &x->p, "alice", NULL, x->w, 5, &x->v);
	is_reply(&x->v.reply, 220, "2.0.0", "ready");
	/* Messages do not count as connections. */
	for (int i = 0; i < 5; i++)
		is_reply(&send_at(x, 5, (struct policy_message){.user = "scan", .from = "a@b.example"},
		    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
}

static void
a_reload_keeps_the_count(void **state)
{
	struct world *x = *state;
	struct policy_mail_limit *l = add_limit(x, &x->app[0].limits, 2, POLICY_COUNT_MESSAGES,
	    POLICY_PER_SECONDS, POLICY_OVER_DEFER);

	send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	/* The same limit elsewhere in memory, with another figure. */
	x->app[0].limits.v = arena_array(x->a, 1, struct policy_mail_limit);
	x->app[0].limits.v[0] = *l;
	x->app[0].limits.v[0].most = 3;
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    451, "4.7.1", "3 messages");
}

static void
refuse_goes_before_defer_and_both_before_counting(void **state)
{
	struct world *x = *state;

	add_limit(x, &x->app[0].limits, 1, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_DEFER);
	add_limit(x, &x->p.submission.limits, 2, POLICY_COUNT_MESSAGES, POLICY_PER_SECONDS,
	    POLICY_OVER_REFUSE);
	send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL);
	/* Deferred by the first: the second must not have counted it. */
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    451, "4.7.1", "application forms");
	is_reply(&send_at(x, 0, (struct policy_message){.user = "scan", .from = "s@x.example"},
	    "x@columbia.edu", NULL)->reply, 250, "2.0.0", "mx");
	is_reply(&send_at(x, 0, (struct policy_message){FORMS}, "x@columbia.edu", NULL)->reply,
	    550, "5.7.1", "submission");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(RFC_5321_4_1_2_mailbox_syntax),
		cmocka_unit_test(RFC_5321_4_1_2_all_short_strings),
		cmocka_unit_test(RFC_5321_4_5_3_1_lengths),
		cmocka_unit_test(a_NUL_inside_is_no_address),
		cmocka_unit_test(COL_22_only_the_domain_after_the_last_at),
		cmocka_unit_test(a_domain_of_mixed_scripts_matches_no_other),
		cmocka_unit_test(RFC_5321_2_4_local_part_keeps_its_case),
		cmocka_unit_test(the_null_sender_matches_its_own_pattern_only),
		cmocka_unit_test(units_say_what_the_language_reads),
		TEST(application_by_user_and_unit_the_fuller_wins),
		TEST(COL_32_COL_34_pending_and_suspended_send_nothing),
		TEST(a_registration_ends_with_its_date),
		TEST(COR_02_unregistered_programs),
		TEST(CAM_16_syntax_of_every_address),
		TEST(RFC_5321_4_5_1_postmaster_alone),
		TEST(COL_29_COR_03_pairs_of_envelope_and_header),
		TEST(a_relay_for_registered_senders_wants_some),
		TEST(CAM_17_null_sender_only_where_the_policy_says_so),
		TEST(CAM_18_rewrite_stands_in_for_an_unregistered_sender),
		TEST(the_most_specific_route_wins_in_any_order),
		TEST(a_route_out_of_its_dates_leads_nowhere),
		TEST(COL_26_a_message_for_both_is_split),
		TEST(COL_22_a_relay_takes_its_recipients_only),
		TEST(AUTH_for_some_recipients_only),
		TEST(COL_09_no_device_mail_by_a_personal_relay),
		TEST(COL_30_CAM_19_X_02_strict_and_inclusive_sizes),
		TEST(CAM_18_which_domains_need_an_MX),
		TEST(COL_39_a_refusal_names_whom_to_ask_and_stays_one_line),
		TEST(CAM_13_the_61st_message_in_an_hour_warns),
		TEST(CAM_14_over_the_limit_is_deferred_and_not_counted),
		TEST(COR_08_a_kind_counts_for_each_application),
		TEST(equal_limits_do_not_count_twice),
		TEST(the_whole_counts_what_its_relays_have_left),
		TEST(a_full_table_defers_and_never_refuses),
		TEST(recipients_of_a_message_past_the_limit_wait),
		TEST(recipients_a_day_are_counted_exactly),
		TEST(a_relay_over_its_limit_defers_its_own_part),
		TEST(windows_by_sender_and_by_relay),
		TEST(a_delay_accepts_and_spreads),
		TEST(a_message_that_is_not_taken_whole_is_not_counted),
		TEST(limits_of_one_connection),
		TEST(connections_have_their_own_limits),
		TEST(a_reload_keeps_the_count),
		TEST(refuse_goes_before_defer_and_both_before_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
