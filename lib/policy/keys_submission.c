/* Key rows: the forwarder, its routes and the registered applications. */
#include "policy/read.h"
#include "policy/raw.h"

/* ---- applications ----------------------------------------------------------- */

#define AP(field) offsetof(struct raw_application, field)
#define LO(field) offsetof(struct raw_location, field)

static const struct shape_key runs_as_keys[] = {
	{"user", &keys_user, offsetof(struct raw_runs_as, user), false,
		"The user its programs run as.", "www-data", NULL},
	{"unit", &keys_unit, offsetof(struct raw_runs_as, unit), false,
		"The systemd unit or cgroup its programs run in.", "apache2.service", NULL},
	{0},
};

static const struct shape_type runs_as = {
	.kind = SHAPE_REC, .id = "runs-as", .keys = runs_as_keys,
	.wanted = "a mapping with `user` and `unit`",
	.example = "{user: www-data, unit: apache2.service}",
};

static const struct shape_type address = {
	.kind = SHAPE_OWN, .wanted = "a mail address", .example = "forms@inst.example.org",
	.pattern = "^[^ ]+@[A-Za-z0-9.-]+$", .read = read_address_ok,
};

static const struct shape_type addresses = {
	.kind = SHAPE_LIST, .lone = true, .item = &address, .size = sizeof(struct shape_text),
	.wanted = "mail addresses", .example = "[forms@inst.example.org]",
};

static const struct shape_key sender_keys[] = {
	{"envelope", &keys_sender, offsetof(struct raw_sender, envelope), true,
		"The envelope sender; `*` only as a whole local part.", "bounce@forms.inst.example.org",
		"COL-29"},
	{"header", &keys_sender, offsetof(struct raw_sender, header), false,
		"The From field; left out: as the envelope.", "\"*@inst.example.org\"", "COL-33"},
	{0},
};

static const struct shape_type sender = {
	.kind = SHAPE_REC, .id = "sender", .keys = sender_keys,
	.wanted = "a pair of senders", .example = "{envelope: forms@inst.example.org}",
};

static const struct shape_type senders = {
	.kind = SHAPE_LIST, .item = &sender, .size = sizeof(struct raw_sender),
	.wanted = "a list of pairs of senders", .example = "[{envelope: forms@inst.example.org}]",
};

static const struct shape_word state_words[] = {
	{"registered", POLICY_REGISTERED, "it may send"},
	{"pending", POLICY_PENDING, "asked for, not yet granted: it sends nothing"},
	{"suspended", POLICY_SUSPENDED, "granted and taken back: it sends nothing"},
	{0},
};

static const struct shape_type state = {
	.kind = SHAPE_WORD, .words = state_words,
};

static const struct shape_key location_keys[] = {
	{"cidr", &keys_where, LO(cidr), false, "The addresses it sends from.",
		"[198.51.100.25, \"2001:db8:5ec::25\"]", "COR-15"},
	{"hostname", &keys_host, LO(hostname), false,
		"The DNS name of the host it runs on, confirmed when it connects; never in a rule.",
		"monitor.example.org", "COR-14"},
	{"certificate", &keys_name, LO(certificate), false,
		"The name of the certificate it shows.", "web-portal", "COR-12"},
	{"dns-registered", &keys_yes, LO(dns_registered), false,
		"Whether its address has a name in the DNS.", "true", "CAM-15"},
	{NULL, &keys_named_meta, LO(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type location = {
	.kind = SHAPE_REC, .id = "location", .keys = location_keys,
	.wanted = "a location", .title = "A location of an application",
	.example = "{cidr: [198.51.100.25]}",
};

static const struct shape_type locations = {
	.kind = SHAPE_MAP, .item = &location, .size = sizeof(struct raw_location),
	.wanted = "a mapping from names to locations",
	.example = "{campus: {cidr: [198.51.100.25]}}",
};

static const struct shape_type rate = {
	.kind = SHAPE_INT, .lo = 0, .hi = 1000000000, .example = "30",
};

static const struct shape_word registrant_words[] = {
	{"owner", 1, "the owner of the account"},
	{"administrator", 2, "its administrator"},
	{0},
};

static const struct shape_type registrant = {
	.kind = SHAPE_WORD, .words = registrant_words,
};

static const struct shape_type relay_name = {
	.kind = SHAPE_NAME, .wanted = "the name of a relay", .example = "ppsw",
};

static const struct shape_type kind_name = {
	.kind = SHAPE_NAME, .wanted = "a name from `kinds`", .example = "web-application",
};

static const struct shape_key application_keys[] = {
	{"kind", &kind_name, AP(kind), true, "What it is: sets its rate class, from `kinds`.",
		"web-application", "COR-08"},
	{"runs-as", &runs_as, AP(runs_as), false, "How the forwarder knows it on this host.", NULL,
		"COL-29"},
	{"owners", &addresses, AP(owners), true, "Who answers for it.", NULL, "COR-07"},
	{"senders", &senders, AP(senders), true,
		"The pairs of envelope sender and From field that it may use.", NULL, "COL-29"},
	{"via", &relay_name, AP(via), false,
		"The relay that takes its mail; left out: by `routes`.", "ser", "COL-26"},
	{"credential", &keys_credential, AP(credential), false,
		"The name of its own credential at the relay of `via`, in place of the relay's.",
		"ser-forms", "COL-33"},
	{"limits", &keys_mail_limits, AP(limits), false, "How much it may send.", NULL, "CAM-14"},
	{"state", &state, AP(state), false, "Where its registration stands; left out: registered.",
		"registered", "COL-32, COL-34"},
	{"locations", &locations, AP(locations), false,
		"Where it runs, and how it is known there: one of cidr, hostname, certificate.", NULL,
		"COR-09, COR-11"},
	{"rate", &rate, AP(rate), false, "Messages an hour at its peak, as its owner says.", "30",
		"CAM-13"},
	{"arrangement", &keys_text, AP(arrangement), false,
		"With whom a higher rate, or outside recipients, were arranged.",
		"agreed with the postmaster", "CAM-13"},
	{"rewrite", &keys_sender, AP(rewrite), false,
		"The address that replaces a sender it has not registered, as cron has.",
		"nightly@inst.example.org", "CAM-18"},
	{"group", &keys_text, AP(group), false, "The group it belongs to.",
		"Office of the Registrar", "COL-33"},
	{"contract", &keys_text, AP(contract), false, "Under which contract it is run.",
		"by the University itself", "COL-31"},
	{"purpose", &keys_text, AP(purpose), false, "Which activity it serves.", "research",
		"COL-31"},
	{"audience", &keys_text, AP(audience), false, "Who gets its mail.",
		"students of the current term", "COL-33"},
	{"account-type", &keys_text, AP(account_type), false, "The kind of account it sends as.",
		"EGA", "COR-04"},
	{"registrant", &registrant, AP(registrant), false, "What the one who registered it is.", NULL,
		"COR-05"},
	{NULL, &keys_dated_meta, AP(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type application = {
	.kind = SHAPE_REC, .id = "application", .keys = application_keys,
	.wanted = "an application", .title = "A registered application",
};

static const struct shape_type applications = {
	.kind = SHAPE_MAP, .item = &application, .size = sizeof(struct raw_application),
	.wanted = "a mapping from names to applications",
	.example = "{web-forms: {kind: web-application, owners: [forms@inst.example.org], "
	    "senders: [{envelope: forms@inst.example.org}]}}",
};

/* ---- routes ------------------------------------------------------------------ */

#define RO(field) offsetof(struct raw_route, field)

static const struct shape_key route_keys[] = {
	{"to", &keys_patterns, RO(to), true, "The recipients it is for.", NULL, "COL-26"},
	{"via", &relay_name, RO(via), true, "The relay that takes them.", "ppsw", "COL-26"},
	{NULL, &keys_stmt_meta, RO(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type route = {
	.kind = SHAPE_REC, .id = "route", .keys = route_keys,
	.wanted = "a route", .title = "A route", .example = "{to: any, via: ppsw}",
};

static const struct shape_type routes = {
	.kind = SHAPE_LIST, .item = &route, .size = sizeof(struct raw_route),
	.wanted = "a list of routes", .example = "[{to: any, via: ppsw}]",
};

/* ---- submission ---------------------------------------------------------------- */

#define SU(field) offsetof(struct raw_submission, field)

static const struct shape_type loopback = {
	.kind = SHAPE_OWN, .wanted = "a loopback address", .example = "127.0.0.1",
	.pattern = "^(127(\\.[0-9]{1,3}){3}|::1)$",
};

static const struct shape_type listen = {
	.kind = SHAPE_LIST, .lone = true, .item = &loopback, .size = sizeof(struct shape_text),
	.wanted = "loopback addresses", .example = "[127.0.0.1, \"::1\"]",
};

static const struct shape_word mode_words[] = {
	{"spool", 0, "mail is kept until a relay has taken it"},
	{"through", 1, "mail is accepted when the relay accepts it"},
	{0},
};

static const struct shape_type mode = {
	.kind = SHAPE_WORD, .words = mode_words,
};

static const struct shape_word refuse_words[] = {
	{"refuse", 1, "it may send nothing"},
	{"route", 0, "its mail goes by `routes`, as that of others"},
	{0},
};

static const struct shape_type refuse = {
	.kind = SHAPE_WORD, .words = refuse_words,
};

static const struct shape_key unregistered_keys[] = {
	{"via", &relay_name, offsetof(struct raw_unregistered, via), true,
		"The relay that takes its mail.", "ppsw", "CAM-16"},
	{0},
};

static const struct shape_type unregistered_rec = {
	.kind = SHAPE_REC, .id = "unregistered", .keys = unregistered_keys,
	.wanted = "a mapping with `via`", .example = "{via: ppsw}",
};

static const struct shape_alt unregistered_alts[] = {
	{&refuse, offsetof(struct raw_unregistered, word)},
	{&unregistered_rec, 0},
	{0},
};

static const struct shape_type unregistered = {
	.kind = SHAPE_ONE, .alt = unregistered_alts,
};

static const struct shape_word resolvable_words[] = {
	{"resolvable", 1, "the domain of a sender must be found in the DNS"},
	{"any", 0, "nothing is asked of it"},
	{0},
};

static const struct shape_type resolvable = {
	.kind = SHAPE_WORD, .words = resolvable_words,
};

static const struct shape_type ending = {
	.kind = SHAPE_OWN, .wanted = "the ending of a file name", .example = ".exe",
	.pattern = "^\\.[A-Za-z0-9._-]{1,15}$", .read = read_ending_ok,
};

static const struct shape_type endings = {
	.kind = SHAPE_LIST, .lone = true, .item = &ending, .size = sizeof(struct shape_text),
	.wanted = "endings of file names", .example = "[.exe, .scr]",
};

#define CH(field) offsetof(struct raw_checks, field)

static const struct shape_key checks_keys[] = {
	{"sender-domain", &resolvable, CH(sender_domain), false,
		"What is asked of the domain of an envelope sender.", NULL, "CAM-17"},
	{"mx-required", &keys_domains, CH(mx_required), false,
		"Domains that, with all below them, take mail only where they have an MX record.", NULL,
		"CAM-18"},
	{"blocked-types", &endings, CH(blocked_types), false,
		"Attachments that are refused, by the ending of their name.", NULL, "CAM-21"},
	{0},
};

static const struct shape_type checks = {
	.kind = SHAPE_REC, .id = "checks", .keys = checks_keys,
	.wanted = "a mapping about checks", .example = "{sender-domain: resolvable}",
};

static const struct shape_key submission_keys[] = {
	{"listen", &listen, SU(listen), false,
		"Where it listens, port 587; left out: 127.0.0.1 and ::1.", NULL, "COL-05, COL-06"},
	{"mode", &mode, SU(mode), false, "When it says that it has accepted; left out: spool.",
		"spool", NULL},
	{"user", &keys_user, SU(user), false,
		"The user it runs as, for `only: forwarder`; left out: mailreeve.", "mailreeve", NULL},
	{"routes", &routes, SU(routes), false,
		"By recipient: the most exact pattern, then the first. A message for several is split.", NULL, "COL-26"},
	{"applications", &applications, SU(applications), false, "The registrations.", NULL,
		"COR-02"},
	{"unregistered", &unregistered, SU(unregistered), true,
		"What a program without a registration may do.", "refuse", "COR-02"},
	{"limits", &keys_mail_limits, SU(limits), false, "How much the whole host may send.", NULL,
		"CAM-13"},
	{"unique-senders", &keys_yes, SU(unique_senders), false,
		"Whether an address may be registered by one application only.", "true", "COR-06"},
	{"checks", &checks, SU(checks), false, "What else is asked of a message.", NULL, "CAM-17"},
	{"internal", &keys_domains, SU(internal), false,
		"The institution's own mail domains, with all below them, for `except-recipients: "
		"internal`.", NULL, "CAM-14"},
	{NULL, &keys_named_meta, SU(meta), false, NULL, NULL, NULL},
	{0},
};

const struct shape_type keys_submission = {
	.kind = SHAPE_REC, .id = "submission", .keys = submission_keys,
	.wanted = "a submission", .title = "The forwarder: submission",
	.example = "{routes: [{to: any, via: ppsw}], unregistered: refuse}",
};

/* ---- kinds -------------------------------------------------------------------- */

#define KI(field) offsetof(struct raw_kind, field)

static const struct shape_key kind_keys[] = {
	{"limits", &keys_mail_limits, KI(limits), false, "How much each of them may send.", NULL,
		"COR-08"},
	{"class", &keys_class, KI(class), false,
		"Which class of relay takes their mail; left out: any.", "device", "COL-09"},
	{NULL, &keys_named_meta, KI(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type kind = {
	.kind = SHAPE_REC, .id = "kind", .keys = kind_keys,
	.wanted = "a kind", .title = "A kind of applications",
	.example = "{limits: [{messages: 500, per: hour, over: defer}]}",
};

const struct shape_type keys_kinds = {
	.kind = SHAPE_MAP, .item = &kind, .size = sizeof(struct raw_kind),
	.wanted = "a mapping from names to kinds",
	.example = "{scanner: {limits: [{messages: 60, per: hour, over: defer}]}}",
};
