/* Key rows: relays. */
#include "policy/read.h"
#include "policy/raw.h"

#define AT(field) offsetof(struct raw_relay, field)

static const struct shape_type host = {
	.kind = SHAPE_OWN,
	.wanted = "a host name",
	.example = "ppsw.cam.ac.uk",
	.pattern = "^[A-Za-z0-9:][A-Za-z0-9:.-]*$",
	.read = read_host_ok,
};

static const struct shape_type relay_port = {
	.kind = SHAPE_OWN,
	.wanted = "`all`, `endpoints`, a port, a range of ports, or a name of ports",
	.example = "all",
	.pattern = "^([a-z][a-z0-9_-]{0,47}|[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?)$",
	.integer = true, .lo = 1, .hi = UINT16_MAX,
	.read = read_port_ok,
};

static const struct shape_type relay_ports = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &relay_port, .size = sizeof(struct shape_text),
	.wanted = "`all`, `endpoints`, or ports",
	.example = "all",
};

/* ---- endpoints, TLS, AUTH -------------------------------------------------- */

static const struct shape_type port = {
	.kind = SHAPE_INT, .lo = 1, .hi = UINT16_MAX, .example = "587",
};

static const struct shape_word tls_words[] = {
	{"none", POLICY_TLS_NONE, "TLS is not required; it is used where the relay offers it"},
	{"starttls", POLICY_TLS_STARTTLS, "STARTTLS is required"},
	{"implicit", POLICY_TLS_IMPLICIT, "TLS from the first byte, required"},
	{"forbidden", POLICY_TLS_FORBIDDEN, "TLS is never begun"},
	{0},
};

static const struct shape_type tls_word = {
	.kind = SHAPE_WORD, .words = tls_words, .example = "starttls",
};

static const struct shape_key endpoint_keys[] = {
	{"port", &port, offsetof(struct raw_endpoint, port), true, "The port.", "587", "COL-15"},
	{"tls", &tls_word, offsetof(struct raw_endpoint, tls), true,
		"What is done about TLS there.", "starttls", "COL-14"},
	{0},
};

static const struct shape_type endpoint = {
	.kind = SHAPE_REC, .id = "endpoint", .keys = endpoint_keys,
	.wanted = "an endpoint", .example = "{port: 587, tls: starttls}",
};

static const struct shape_type endpoints = {
	.kind = SHAPE_LIST, .item = &endpoint, .size = sizeof(struct raw_endpoint),
	.wanted = "a list of endpoints", .example = "[{port: 587, tls: starttls}]",
};

/* 12 and 13, as policy->tls_minimum has them */
static const struct shape_word version_words[] = {
	{"1.2", 12, "TLS 1.2"},
	{"1.3", 13, "TLS 1.3"},
	{0},
};

static const struct shape_type version = {
	.kind = SHAPE_WORD, .words = version_words, .example = "\"1.2\"",
};

static const struct shape_type cipher = {
	.kind = SHAPE_TEXT, .hi = 100, .pattern = "^[A-Za-z0-9_+-]+$",
	.example = "ECDHE-RSA-AES128-GCM-SHA256",
};

static const struct shape_type ciphers = {
	.kind = SHAPE_LIST, .item = &cipher, .size = sizeof(struct shape_text),
	.wanted = "a list of cipher names", .example = "[ECDHE-RSA-AES128-GCM-SHA256]",
};

static const struct shape_type ca = {
	.kind = SHAPE_OWN, .wanted = "an absolute path", .example = "/etc/ssl/certs/relay-ca.pem",
	.pattern = "^/", .read = read_ca_ok,
};

static const struct shape_type hosts = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &keys_host, .size = sizeof(struct shape_text),
	.example = "[smtp.example.org]",
};

static const struct shape_key tls_keys[] = {
	{"minimum", &version, offsetof(struct raw_tls, minimum), false,
		"The lowest version of TLS that is taken.", "\"1.2\"", "COL-28"},
	{"ciphers", &ciphers, offsetof(struct raw_tls, ciphers), false,
		"The ciphers that are offered, and no others.", NULL, "COL-38"},
	{"ca", &ca, offsetof(struct raw_tls, ca), false,
		"The file or folder of authorities, in place of the system's.", NULL, NULL},
	{"names", &hosts, offsetof(struct raw_tls, names), false,
		"The names of which the certificate must bear one; left out: `host`.", NULL, NULL},
	{0},
};

static const struct shape_type tls = {
	.kind = SHAPE_REC, .id = "tls", .keys = tls_keys,
	.wanted = "a mapping about TLS", .example = "{minimum: \"1.2\"}",
};

static const struct shape_word auth_words[] = {
	{"none", POLICY_AUTH_NONE, "AUTH is not attempted, even where it is offered"},
	{0},
};

static const struct shape_type auth_word = {
	.kind = SHAPE_WORD, .words = auth_words,
};

static const struct shape_key auth_keys[] = {
	{"password", &keys_credential, offsetof(struct raw_auth, password), false,
		"The name of a credential: user and password. Never the secret itself.", "ser-forms",
		"COL-12"},
	{"certificate", &keys_credential, offsetof(struct raw_auth, certificate), false,
		"The name of a credential: a client certificate and its key.", "inst-client", "COR-12"},
	{"recipients", &keys_patterns, offsetof(struct raw_auth, recipients), false,
		"AUTH only for these recipients; left out: for all.", NULL, "COL-25"},
	{0},
};

static const struct shape_type auth_rec = {
	.kind = SHAPE_REC, .id = "auth", .keys = auth_keys,
	.wanted = "a mapping with `password` or `certificate`", .example = "{password: ser-forms}",
};

static const struct shape_alt auth_alts[] = {
	{&auth_word, offsetof(struct raw_auth, word)},
	{&auth_rec, 0},
	{0},
};

static const struct shape_type auth = {
	.kind = SHAPE_ONE, .alt = auth_alts,
};

/* ---- what it accepts -------------------------------------------------------- */

static const struct shape_type bound = {
	.kind = SHAPE_BOUND, .example = "up to 100 MB",
};

static const struct shape_word sender_words[] = {
	{"any", 0, "any sender"},
	{"registered", 1, "only senders that an application has registered"},
	{0},
};

static const struct shape_type senders = {
	.kind = SHAPE_WORD, .words = sender_words, .example = "registered",
};

#define ACC(field) offsetof(struct raw_accepts, field)

static const struct shape_key accepts_keys[] = {
	{"recipients", &keys_patterns, ACC(recipients), false,
		"To whom it takes mail; left out: to any.", "any", "COL-22"},
	{"message-size", &bound, ACC(size), false,
		"How large a message may be; `up to` is inclusive, `below` is strict.", "up to 100 MB",
		"CAM-19, COL-30"},
	{"un-encoded", &bound, ACC(un_encoded), false,
		"The largest attachment before it is encoded, as users are told.", "up to 70 MB", "CAM-20"},
	{"senders", &senders, ACC(senders), false,
		"From whom it takes mail; left out: any.", NULL, "COL-29"},
	{0},
};

static const struct shape_type accepts = {
	.kind = SHAPE_REC, .id = "accepts", .keys = accepts_keys,
	.wanted = "a mapping about what it accepts",
	.example = "{recipients: any, message-size: up to 100 MB}",
};

static const struct shape_type several = {
	.kind = SHAPE_INT, .lo = 1, .hi = 1000000, .example = "10",
};

static const struct shape_type span = {
	.kind = SHAPE_TIME,
};

static const struct shape_key connections_keys[] = {
	{"at-most", &several, offsetof(struct raw_connections, at_most), false,
		"How many at one time.", "4", NULL},
	{"messages", &several, offsetof(struct raw_connections, messages), false,
		"How many messages on one.", "100", NULL},
	{"age", &span, offsetof(struct raw_connections, age), false,
		"How long one is kept.", "10 min", NULL},
	{0},
};

static const struct shape_type connections = {
	.kind = SHAPE_REC, .id = "connections", .keys = connections_keys,
	.wanted = "a mapping about connections", .example = "{at-most: 4, messages: 100}",
};

static const struct shape_word stored_words[] = {
	{"allowed", 1, "a program may keep the credential"},
	{"forbidden", 0, "nobody may keep it: the forwarder does not use this relay"},
	{0},
};

static const struct shape_type stored = {
	.kind = SHAPE_WORD, .words = stored_words, .example = "forbidden",
};

static const struct shape_word registration_words[] = {
	{"required", 1, "only registered applications may use it"},
	{"none", 0, "no permission is needed"},
	{0},
};

static const struct shape_type registration = {
	.kind = SHAPE_WORD, .words = registration_words,
};

static const struct shape_type names = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &keys_name, .size = sizeof(struct shape_text),
	.wanted = "names", .example = "[managed-systems]",
};

static const struct shape_type no_secret = {
	.kind = SHAPE_NOT,
	.wanted = "a secret never stands in a policy; write `auth: {password: NAME}` with the name "
	    "of a credential",
};

static const struct shape_key relay_keys[] = {
	{"class", &keys_class, AT(class), false, "What may be sent through it; left out: any.",
		"device", "COL-10"},
	{"ranges", &keys_where, AT(ranges), false,
		"The addresses that the firewall opens; every address of `host` must lie in them.",
		"[131.111.8.128/27, \"2001:630:212:8::e:0/112\"]", "CAM-05, CAM-06"},
	{"families", &keys_families, AT(families), false,
		"Says that the ranges are of one family on purpose.", "ipv4", "X-06"},
	{"clients", &keys_where_any, AT(clients), false,
		"Who may reach it; left out: anybody.", "anywhere", "COL-23"},
	{"host", &host, AT(host), false,
		"Where the forwarder delivers to; it looks the name up at each connection.",
		"ppsw.cam.ac.uk", "CAM-10, CAM-11"},
	{"host-reason", &keys_text, AT(host_reason), false,
		"Why `host` is an address and not a name.", "a printer without DNS", "CAM-10"},
	{"ports", &relay_ports, AT(ports), false,
		"What the ranges open: `endpoints` (left out: this), `all` TCP ports, or a list.", "all",
		"CAM-05"},
	{"endpoints", &endpoints, AT(endpoints), false,
		"Ports and what is done about TLS on each, in order of preference.", NULL,
		"COL-15, COL-16"},
	{"tls", &tls, AT(tls), false, "What is asked of TLS.", NULL, "COL-28"},
	{"auth", &auth, AT(auth), false, "How the forwarder says who it is; left out: not at all.",
		"{password: ser-forms}", "X-03"},
	{"stored-credentials", &stored, AT(stored), false,
		"Whether a program may keep a credential for it; left out: it may.", NULL,
		"COL-11, COL-12"},
	{"registration", &registration, AT(registration), false,
		"Whether only registered applications may use it; left out: none needed.", NULL,
		"COL-24"},
	{"for", &names, AT(for_), false, "For which kinds of systems it is, in words of your own.",
		"[managed-systems]", "COL-08"},
	{"accepts", &accepts, AT(accepts), false, "What it accepts.", NULL, "COL-22"},
	{"connections", &connections, AT(connections), false,
		"How the forwarder keeps connections to it.", NULL, NULL},
	{"limits", &keys_mail_limits, AT(limits), false,
		"How much mail it is given.", NULL, "CAM-14"},
	{"password", &no_secret, 0, false, "", NULL, NULL},
	{"username", &no_secret, 0, false, "", NULL, NULL},
	{NULL, &keys_dated_meta, AT(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type relay = {
	.kind = SHAPE_REC, .id = "relay", .keys = relay_keys,
	.wanted = "a relay", .title = "A relay",
};

const struct shape_type keys_relays = {
	.kind = SHAPE_MAP, .item = &relay, .size = sizeof(struct raw_relay),
	.wanted = "a mapping from names to relays",
	.example = "{ppsw: {ranges: central-mail, host: ppsw.cam.ac.uk, "
	    "endpoints: [{port: 25, tls: none}]}}",
};
