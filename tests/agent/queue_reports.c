/* queue_reports FOLDER: has the role queue make each kind of report; FOLDER/NAME.eml holds it as the relay
 * got it, FOLDER/NAME.txt its envelope. queue_reports.py reads them. */
#include <stdint.h>

#include "queue_rig.h"

static struct rig g;
static const char *out;

static void
put(const char *name, const char *ending, const char *bytes, size_t n)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s.%s", out, name, ending);
	FILE *f = fopen(path, "w");
	CHECK(f && fwrite(bytes, 1, n, f) == n && !fclose(f));
}

/* The next send is a report: it is kept, and taken. */
static void
report(const char *name)
{
	struct rig_in m = {0};
	const struct relay_send *x = rig_send(&g, 10000, &m);
	char line[512];

	CHECK(x);
	char *c = rig_content_of(&m);
	put(name, "eml", c, (size_t)x->size);
	snprintf(line, sizeof line, "from=<%s> to=<%s> eight=%u utf8=%u\n", x->from, x->rcpt[0].address, x->eight,
	    x->utf8);
	put(name, "txt", line, strlen(line));
	free(c);
	rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	ipc_free(&m.in);
	CHECK(rig_empty(&g, 5000));
}

static void
sent(const struct rig_mail *w, enum relay_fate fate, unsigned code, const char *text)
{
	struct rig_in m = {0}, s = {0};

	rig_mail(&g, w);
	CHECK(rig_settled(&g, &m)->code == 250);
	CHECK(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, fate, code, text);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

int
main(int argc, char **argv)
{
	static const char eight[] = "From: a@example.org\r\nSubject: gr\xc3\xbc\xc3\x9f dich\r\n\r\nGr\xc3\xb6\xc3\x9f" "e.\r\n";
	struct rig_in s = {0};

	if (argc != 2)
		return 2;
	out = argv[1];
	rig_new(&g);
	rig_begin(&g);
	sent(&(struct rig_mail){.to = {"b@example.com", "c@example.com"}}, RELAY_FAILED, 550, "5.1.1 no such user");
	report("refused");
	sent(&(struct rig_mail){.to = {"b@example.com"}, .ret = "FULL"}, RELAY_FAILED, 552,
	    "5.2.2 the mailbox\n5.2.2 is full");
	report("full");
	sent(&(struct rig_mail){.to = {"b@example.com"}, .content = eight}, RELAY_FAILED, 550, "5.1.1 \x01\x1b[31m\xff");
	report("eight");
	sent(&(struct rig_mail){.to = {"b@example.com"}, .notify = "SUCCESS,FAILURE"}, RELAY_DELIVERED, 250,
	    "2.0.0 ok");
	report("relayed");
	/* one recipient of a `through` is refused, the other delivered */
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com", "c@two.example"}, .through = true});
	for (int i = 0; i < 2; i++) {
		const struct relay_send *x = rig_send(&g, 5000, &s);
		CHECK(x);
		if (!strcmp(x->relay, "two"))
			rig_result(&g, x, RELAY_FAILED, 554, "5.7.1 not wanted");
		else
			rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	}
	report("through");
	/* it goes through to a relay that makes no reports itself */
	struct rig_in told = {0};

	CHECK(rig_settled(&g, &told)->code == 250);
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}, .through = true, .notify = "SUCCESS"});
	CHECK(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
	report("relayed-through");
	const struct front_settled *t = rig_settled(&g, &told);
	CHECK(t->code == 250 && t->delivered && !strcmp(t->text, "ok"));
	ipc_free(&told.in);
	rig_end(&g, 0);
	/* what is too old, and what is late: the times of the spool are short now */
	g.config.warn_after = 300;
	g.config.retry_first = g.config.retry_most = 60000;
	rig_begin(&g);
	sent(&(struct rig_mail){.to = {"b@example.com"}}, RELAY_DEFERRED, 451, "4.3.0 later");
	struct rig_in m = {0};
	const struct relay_send *x = rig_send(&g, 10000, &m);
	CHECK(x && !*x->from);
	char *c = rig_content_of(&m);
	put("late", "eml", c, (size_t)x->size);
	put("late", "txt", "", 0);
	free(c);
	rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	ipc_free(&m.in);
	rig_end(&g, 0);
	g.config.lifetime = 400;
	g.config.warn_after = 0;
	rig_begin(&g);
	report("old");
	rig_end(&g, 0);
	ipc_free(&s.in);
	rig_free(&g);
	return 0;
}
