/* Key rows, the parts that many records share: what a statement may carry,
 * places, ports, users, patterns. */
#include "policy/read.h"
#include "policy/raw.h"

#define AT(field) offsetof(struct raw_meta, field)

const struct shape_type keys_text = {
	.kind = SHAPE_TEXT,
};

const struct shape_type keys_name = {
	.kind = SHAPE_NAME,
};

/* Who mistakes it writes the password here. */
const struct shape_type keys_credential = {
	.kind = SHAPE_NAME, .secret = true,
};

const struct shape_type keys_yes = {
	.kind = SHAPE_BOOL,
};

static const struct shape_type day = {
	.kind = SHAPE_DAY,
};

#define META_TEXT \
	{"title", &keys_text, AT(title), false, "What it is, in a few words.", \
		"Central smart host", NULL}, \
	{"owner", &keys_text, AT(owner), false, "Who answers for it.", "physics-it", NULL}, \
	{"contact", &keys_text, AT(contact), false, \
		"Whom to ask about it; named in refusals.", "it-support@inst.example.org", "COL-39"}, \
	{"reason", &keys_text, AT(reason), false, "Why it is so.", \
		"runs its own MTA, arranged with the postmaster", NULL}, \
	{"ticket", &keys_text, AT(ticket), false, "Where it was asked for.", "RT-4711", NULL}, \
	{"source", &keys_text, AT(source), false, \
		"Which document says so, and where in it.", "\"CAM-05, S3:43\"", NULL}

#define META_NAME \
	{"name", &keys_name, AT(name), false, \
		"A name of its own, for comments, counters and reports.", "physics-mta", NULL}

#define META_DAYS \
	{"since", &day, AT(since), false, \
		"The first day on which it holds, in the policy's time zone.", "2026-11-21", "CAM-03"}, \
	{"until", &day, AT(until), false, \
		"The last day on which it holds; it ends with that day, by itself.", "2027-03-31", \
		"CAM-03"}

static const struct shape_type no_days = {
	.kind = SHAPE_NOT,
	.wanted = "this does not end by itself: dates belong to statements, relays, routes, limits "
	    "and applications",
};

#define META_NO_DAYS \
	{"since", &no_days, 0, false, "", NULL, NULL}, \
	{"until", &no_days, 0, false, "", NULL, NULL}

static const struct shape_key stmt_meta[] = {
	META_NAME, META_TEXT, META_DAYS, {0},
};

static const struct shape_key named_meta[] = {
	META_TEXT, META_NO_DAYS, {0},
};

static const struct shape_key dated_meta[] = {
	META_TEXT, META_DAYS, {0},
};

static const struct shape_key undated_meta[] = {
	META_NAME, META_TEXT, META_NO_DAYS, {0},
};

const struct shape_type keys_stmt_meta = {
	.kind = SHAPE_REC, .keys = stmt_meta,
	.title = "What a statement may carry",
};

const struct shape_type keys_named_meta = {
	.kind = SHAPE_REC, .keys = named_meta,
	.title = "What a named thing may carry",
};

const struct shape_type keys_dated_meta = {
	.kind = SHAPE_REC, .keys = dated_meta,
	.title = "What a relay or a registration may carry",
};

const struct shape_type keys_undated_meta = {
	.kind = SHAPE_REC, .keys = undated_meta,
	.title = "What a test may carry",
};

/* ---- places ------------------------------------------------------------- */

#define PLACE_PATTERN "[a-z][a-z0-9_-]{0,47}|[0-9A-Fa-f:.]+(/[0-9]{1,3})?"

static const struct shape_type place = {
	.kind = SHAPE_OWN,
	.wanted = "the name of a network, a prefix or an address",
	.example = "131.111.64.0/20",
	.pattern = "^(" PLACE_PATTERN ")$",
};

const struct shape_type keys_where = {
	.kind = SHAPE_LIST, .id = "where", .lone = true,
	.item = &place, .size = sizeof(struct shape_text),
	.wanted = "the name of a network, a prefix or an address, or a list of these",
	.example = "[131.111.64.0/20, \"2001:630:210:100::/56\"]",
};

static const struct shape_type place_any = {
	.kind = SHAPE_OWN,
	.wanted = "the name of a network, a prefix, an address, or `anywhere`",
	.example = "anywhere",
	.pattern = "^(" PLACE_PATTERN ")$",
};

const struct shape_type keys_where_any = {
	.kind = SHAPE_LIST, .id = "where-any", .lone = true,
	.item = &place_any, .size = sizeof(struct shape_text),
	.wanted = "the name of a network, a prefix, an address, or `anywhere`, or a list of these",
	.example = "anywhere",
};

static const struct shape_word family_words[] = {
	{"ipv4", ADDR_V4, "it has IPv4 addresses only, on purpose"},
	{"ipv6", ADDR_V6, "it has IPv6 addresses only, on purpose"},
	{0},
};

const struct shape_type keys_families = {
	.kind = SHAPE_WORD, .words = family_words,
};

/* ---- ports -------------------------------------------------------------- */

static const struct shape_type port = {
	.kind = SHAPE_OWN,
	.wanted = "a port, a range of ports, or a name of ports",
	.example = "smtp",
	.pattern = "^([a-z][a-z0-9_-]{0,47}|[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?)$",
	.integer = true, .lo = 1, .hi = UINT16_MAX,
	.read = read_port_ok,
};

const struct shape_type keys_ports = {
	.kind = SHAPE_LIST, .id = "port-list", .lone = true,
	.item = &port, .size = sizeof(struct shape_text),
	.wanted = "ports: numbers, ranges, names",
	.example = "[smtp, 587, 1024-2000]",
};

/* ---- users, units --------------------------------------------------------- */

const struct shape_type keys_user = {
	.kind = SHAPE_OWN,
	.wanted = "a user name or a uid",
	.example = "www-data",
	.pattern = "^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$",
	.integer = true, .lo = 0, .hi = UINT32_MAX - 1,
	.read = read_user_ok,
};

const struct shape_type keys_unit = {
	.kind = SHAPE_OWN,
	.wanted = "a systemd unit or a cgroup path",
	.example = "apache2.service",
	.pattern = "^[A-Za-z0-9_@:\\\\-][A-Za-z0-9._@:\\\\/-]*$",
	.read = read_unit_ok,
};

const struct shape_type keys_users = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &keys_user, .size = sizeof(struct shape_text),
	.example = "[www-data]",
};

const struct shape_type keys_units = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &keys_unit, .size = sizeof(struct shape_text),
	.example = "[apache2.service]",
};

/* ---- mail --------------------------------------------------------------- */

static const struct shape_word class_words[] = {
	{"any", POLICY_CLASS_ANY, "whatever is sent"},
	{"personal", POLICY_CLASS_PERSONAL, "mail that people send with mail programs"},
	{"device", POLICY_CLASS_DEVICE, "mail of devices and software"},
	{0},
};

const struct shape_type keys_class = {
	.kind = SHAPE_WORD, .words = class_words, .example = "device",
};

#define ADDRESS_PATTERN "[^@ ]+@[A-Za-z0-9.-]+|\"[^\"]*\"@[A-Za-z0-9.-]+"

static const struct shape_type recipient = {
	.kind = SHAPE_OWN,
	.wanted = "`any`, `@example.org`, `@*.example.org` or an address",
	.example = "\"@example.org\"",
	.pattern = "^(any|@(\\*\\.)?[A-Za-z0-9.-]+|" ADDRESS_PATTERN ")$",
	.read = read_recipient_ok,
};

const struct shape_type keys_patterns = {
	.kind = SHAPE_LIST, .id = "recipients", .lone = true,
	.item = &recipient, .size = sizeof(struct shape_text),
	.wanted = "`any`, or patterns of recipients",
	.example = "[\"@example.org\", \"@*.example.org\"]",
};

const struct shape_type keys_sender = {
	.kind = SHAPE_OWN,
	.wanted = "an address, `*@example.org`, or `<>`",
	.example = "bounce@forms.inst.example.org",
	.pattern = "^(<>|\\*@(\\*\\.)?[A-Za-z0-9.-]+|" ADDRESS_PATTERN ")$",
	.read = read_sender_ok,
};

const struct shape_type keys_host = {
	.kind = SHAPE_OWN,
	.wanted = "a host name",
	.example = "smtp.example.org",
	.pattern = "^[A-Za-z0-9][A-Za-z0-9.-]*$",
	.read = read_hostname_ok,
};

static const struct shape_type domain = {
	.kind = SHAPE_OWN,
	.wanted = "a domain",
	.example = "cam.ac.uk",
	.pattern = "^[A-Za-z0-9][A-Za-z0-9.-]*$",
	.read = read_domain_ok,
};

const struct shape_type keys_domains = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &domain, .size = sizeof(struct shape_text),
	.example = "[cam.ac.uk]",
};

/* ---- limits of mail -------------------------------------------------------- */

#define MAT(field) offsetof(struct raw_mail_limit, field)

static const struct shape_type count = {
	.kind = SHAPE_INT, .lo = 0, .hi = UINT64_C(1000000000000), .example = "60",
};

static const struct shape_type bytes = {
	.kind = SHAPE_SIZE, .example = "100 MB",
};

static const struct shape_type per = {
	.kind = SHAPE_OWN,
	.wanted = "`message`, `connection`, or a duration",
	.example = "hour",
	.pattern = "^(message|connection|[0-9]+ ?(s|sec|seconds?|min|minutes?|h|hours?|d|days?|weeks?)"
	    "|second|minute|hour|day|week)$",
	.read = read_per_ok,
};

static const struct shape_word each_words[] = {
	{"all", POLICY_EACH_ALL, "one count for everything"},
	{"host", POLICY_EACH_HOST, "a count for each host"},
	{"application", POLICY_EACH_APPLICATION, "a count for each application"},
	{"sender", POLICY_EACH_SENDER, "a count for each envelope sender"},
	{"relay", POLICY_EACH_RELAY, "a count for each relay"},
	{0},
};

static const struct shape_type each = {
	.kind = SHAPE_WORD, .words = each_words, .example = "host",
};

static const struct shape_word over_words[] = {
	{"warn", POLICY_OVER_WARN, "a threshold: it is said, nothing is refused"},
	{"refuse", POLICY_OVER_REFUSE, "a permanent refusal (5xx)"},
	{"defer", POLICY_OVER_DEFER, "a temporary refusal (4xx): the sender tries again"},
	{"delay", POLICY_OVER_DELAY, "accepted, and sent on later"},
	{0},
};

static const struct shape_type over = {
	.kind = SHAPE_WORD, .words = over_words, .example = "defer",
};

static const struct shape_type uncounted = {
	.kind = SHAPE_OWN,
	.wanted = "`internal`, `@example.org`, `@*.example.org` or an address",
	.example = "internal",
	.pattern = "^(any|internal|@(\\*\\.)?[A-Za-z0-9.-]+|" ADDRESS_PATTERN ")$",
	.read = read_uncounted_ok,
};

static const struct shape_type uncounted_list = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &uncounted, .size = sizeof(struct shape_text),
	.example = "internal",
};

static const struct shape_key mail_limit_keys[] = {
	{"messages", &count, MAT(messages), false, "How many messages at most.", "60", "CAM-13"},
	{"recipients", &count, MAT(recipients), false, "How many recipients at most.", "500", NULL},
	{"bytes", &bytes, MAT(bytes), false, "How many bytes at most.", "100 MB", NULL},
	{"connections", &count, MAT(connections), false, "How many connections at most.", "10", NULL},
	{"per", &per, MAT(per), true,
		"Over what it counts: a sliding window, a message or a connection.", "hour", "CAM-13"},
	{"each", &each, MAT(each), false,
		"What has a count of its own; left out, the thing that bears the limit.", "host", "CAM-14"},
	{"over", &over, MAT(over), true, "What happens past it.", "defer", "CAM-14"},
	{"except-recipients", &uncounted_list, MAT(except), false,
		"Recipients that are not counted; `internal` means the institution's own domains.",
		"internal", "CAM-14"},
	{NULL, &keys_stmt_meta, MAT(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type mail_limit = {
	.kind = SHAPE_REC, .id = "mail-limit", .keys = mail_limit_keys,
	.wanted = "a limit of mail", .title = "A limit of mail: limits",
	.example = "{messages: 60, per: hour, over: defer}",
};

const struct shape_type keys_mail_limits = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &mail_limit, .size = sizeof(struct raw_mail_limit),
	.wanted = "a list of limits",
	.example = "[{messages: 60, per: hour, over: defer}]",
};
