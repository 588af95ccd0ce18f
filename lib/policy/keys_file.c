/* Key rows: the file as a whole, networks, ports, tests; and what is printed
 * from all rows. */
#include "policy/keys.h"
#include "policy/read.h"
#include "policy/raw.h"

/* ---- networks, ports ---------------------------------------------------------- */

#define NE(field) offsetof(struct raw_network, field)

static const struct shape_type path = {
	.kind = SHAPE_OWN, .wanted = "a path beside or below this file",
	.example = "lists/campus.txt", .pattern = "^[^/\\\\][^\\\\]*$", .read = read_path_ok,
};

static const struct shape_type paths = {
	.kind = SHAPE_LIST, .lone = true, .item = &path, .size = sizeof(struct shape_text),
};

static const struct shape_key network_keys[] = {
	{"ranges", &keys_where, NE(ranges), false, "Its addresses.",
		"[131.111.64.0/20, \"2001:630:210:100::/56\"]", "CAM-06"},
	{"ranges-from", &paths, NE(lists), false,
		"Files with more of them: one range a line, `#` begins a comment.", "lists/campus.txt",
		"MIS-02"},
	{"except", &keys_where, NE(except), false, "What is taken out of them again.",
		"192.168.0.0/24", NULL},
	{"families", &keys_families, NE(families), false,
		"Says that it is of one family on purpose.", "ipv4", "X-06"},
	{NULL, &keys_named_meta, NE(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type network_rec = {
	.kind = SHAPE_REC, .id = "network", .keys = network_keys,
	.wanted = "a network", .title = "A network",
	.example = "{ranges: [131.111.64.0/20, \"2001:630:210:100::/56\"]}",
};

static const struct shape_type network_list = {
	.kind = SHAPE_LIST, .item = &(const struct shape_type){
		.kind = SHAPE_OWN,
		.wanted = "the name of a network, a prefix or an address",
		.example = "131.111.64.0/20",
		.pattern = "^([a-z][a-z0-9_-]{0,47}|[0-9A-Fa-f:.]+(/[0-9]{1,3})?)$",
	},
	.size = sizeof(struct shape_text), .wanted = "a list of ranges",
};

static const struct shape_alt network_alts[] = {
	{&network_rec, 0},
	{&network_list, NE(ranges)},
	{0},
};

static const struct shape_type network = {
	.kind = SHAPE_ONE, .alt = network_alts,
	.wanted = "a mapping with `ranges`, or a list of ranges",
	.example = "{ranges: [131.111.64.0/20, \"2001:630:210:100::/56\"]}",
};

static const struct shape_type networks = {
	.kind = SHAPE_MAP, .item = &network, .size = sizeof(struct raw_network),
	.wanted = "a mapping from names to networks",
	.example = "{campus: [131.111.64.0/20, \"2001:630:210:100::/56\"]}",
};

static const struct shape_type ports = {
	.kind = SHAPE_MAP, .item = &keys_ports, .size = sizeof(struct raw_ports),
	.off = offsetof(struct raw_ports, items),
	.wanted = "a mapping from names to ports",
	.example = "{roaming: [110, 143, 465, 587, 993, 995]}",
};

/* ---- tests ------------------------------------------------------------------ */

#define TE(field) offsetof(struct raw_test, field)
#define SE(field) offsetof(struct raw_send, field)

static const struct shape_type point_name = {
	.kind = SHAPE_NAME, .wanted = "the name of a point", .example = "firewall",
};

static const struct shape_type relay_name = {
	.kind = SHAPE_NAME, .wanted = "the name of a relay", .example = "ppsw",
};

static const struct shape_type application_name = {
	.kind = SHAPE_NAME, .wanted = "the name of an application", .example = "web-forms",
};

static const struct shape_type day = {
	.kind = SHAPE_DAY,
};

static const struct shape_word direction_words[] = {
	{"outbound", PACKET_OUTPUT, "sent by a program of the host"},
	{"inbound", PACKET_INPUT, "for a program of the host"},
	{"forwarded", PACKET_FORWARD, "forwarded by the host"},
	{0},
};

static const struct shape_type direction = {
	.kind = SHAPE_WORD, .words = direction_words,
};

/* What a message in a test says is no pattern, and may be wrong on purpose. */
static const struct shape_type said = {
	.kind = SHAPE_OWN, .wanted = "an address, `\"\"` for none",
	.example = "bounce@forms.inst.example.org", .empty = true,
};

static const struct shape_type said_list = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &(const struct shape_type){
		.kind = SHAPE_OWN, .wanted = "an address", .example = "x@example.com",
	},
	.size = sizeof(struct shape_text), .wanted = "an address, or a list of addresses",
	.example = "x@example.com",
};

static const struct shape_type size = {
	.kind = SHAPE_SIZE, .example = "6 MB",
};

static const struct shape_key send_keys[] = {
	{"user", &keys_user, SE(user), false, "The user of the program that sends it.", "www-data",
		NULL},
	{"unit", &keys_unit, SE(unit), false, "The unit of that program.", "apache2.service", NULL},
	{"application", &application_name, SE(application), false,
		"The application that sends it, in place of user and unit.", "web-forms", NULL},
	{"from", &said, SE(from), true, "The envelope sender.", NULL, "COL-29"},
	{"header", &said_list, SE(header), false,
		"The addresses of the From field; left out: the envelope sender.", "a@inst.example.org",
		"COL-29"},
	{"to", &said_list, SE(to), true, "The recipients.", "x@example.com", NULL},
	{"size", &size, SE(size), false, "The size of the whole message; left out: 1 kB.", NULL,
		"CAM-19"},
	{0},
};

static const struct shape_type send_rec = {
	.kind = SHAPE_REC, .id = "send", .keys = send_keys,
	.wanted = "a message", .title = "A message in a test: send",
	.example = "{user: www-data, from: bounce@forms.inst.example.org, to: x@example.com, "
	    "size: 6 MB}",
};

static const struct shape_type probe = {
	.kind = SHAPE_OWN, .wanted = "a packet",
	.example = "\"tcp 131.111.64.9 -> 8.8.8.8:25\"",
	.pattern = "^(tcp|udp|icmp|sctp) \\S+ -> \\S+$",
};

static const struct shape_type expect = {
	.kind = SHAPE_OWN,
	.wanted = "`allow`, `untouched`, `deny`, `reject`, `drop`, `capture`, or the beginning of a "
	    "reply",
	.example = "reject",
	.pattern = "^(allow|untouched|deny|reject|drop|capture|[245]([0-9]([0-9]( .*)?)?)?)$",
	.integer = true, .lo = 2, .hi = 599,
	.read = read_expect_ok,
};

static const struct shape_key test_keys[] = {
	{"at", &point_name, TE(at), false, "At which point. Required for a packet.", "firewall", NULL},
	{"probe", &probe, TE(probe), false, "The packet: protocol, source, `->`, destination.", NULL,
		NULL},
	{"send", &send_rec, TE(send), false, "The message, in place of a packet.", NULL, NULL},
	{"expect", &expect, TE(expect), true,
		"What must happen to it: a verdict for a packet, the beginning of the reply for a message.",
		"reject", NULL},
	{"date", &day, TE(date), false, "On which day; left out: on every day.", "2027-04-01",
		"CAM-03"},
	{"user", &keys_user, TE(user), false, "Of a host: the user of the program.", "www-data", NULL},
	{"unit", &keys_unit, TE(unit), false, "Of a host: the unit of the program.",
		"apache2.service", NULL},
	{"direction", &direction, TE(direction), false,
		"Of a host: where the packet is; left out: outbound, where there are rules for it.",
		"inbound", NULL},
	{"relay", &relay_name, TE(relay), false, "Of a message: the relay it must go to.", "ppsw",
		"COL-26"},
	{NULL, &keys_undated_meta, TE(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type test = {
	.kind = SHAPE_REC, .id = "test", .keys = test_keys,
	.wanted = "a test", .title = "A test",
	.example = "{at: firewall, probe: \"tcp 131.111.64.9 -> 8.8.8.8:25\", expect: reject}",
};

static const struct shape_type tests = {
	.kind = SHAPE_LIST, .item = &test, .size = sizeof(struct raw_test),
	.wanted = "a list of tests",
	.example = "[{at: firewall, probe: \"tcp 131.111.64.9 -> 8.8.8.8:25\", expect: reject}]",
};

/* ---- the file ----------------------------------------------------------------- */

#define FI(field) offsetof(struct raw_file, field)

static const struct shape_type version = {
	.kind = SHAPE_INT, .lo = 1, .hi = 1, .example = "1",
	.wanted = "the version of the language, 1",
};

static const struct shape_type timezone_ = {
	.kind = SHAPE_OWN, .wanted = "a time zone", .example = "Europe/London",
	.pattern = "^[A-Za-z][A-Za-z0-9/_+-]*$", .read = read_zone_ok,
};

static const struct shape_type sources = {
	.kind = SHAPE_MAP, .item = &keys_text, .size = sizeof(struct raw_source),
	.off = offsetof(struct raw_source, text),
	.wanted = "a mapping from names to documents", .example = "{uis: outgoing-mail.txt}",
};

#define ROW_VERSION \
	{"mailreeve", &version, FI(version), true, \
		"The version of the policy language.", "1", NULL}
#define ROWS_SHARED \
	{"sources", &sources, FI(sources), false, \
		"The documents that `source` cites, by name.", NULL, NULL}, \
	{"include", &paths, FI(include), false, \
		"Other files with networks, ports, relays and kinds, beside or below this one.", \
		"[networks/cudn.yaml]", NULL}, \
	{"networks", &networks, FI(networks), false, "Sets of addresses, by name; one that has ranges only may be a list.", NULL, "MIS-02"}, \
	{"ports", &ports, FI(ports), false, \
		"Sets of ports, by name. Built in: smtp, submission, submissions, imap, imaps, pop3, " \
		"pop3s, mail.", NULL, "CAM-07"}, \
	{"relays", &keys_relays, FI(relays), false, "The relays, each declared once.", NULL, \
		"MIS-01"}, \
	{"kinds", &keys_kinds, FI(kinds), false, "Rate classes of applications, by name.", NULL, \
		"COR-08"}

static const struct shape_type policy_name = {
	.kind = SHAPE_NAME, .example = "cam-institution",
};

static const struct shape_key file_keys[] = {
	ROW_VERSION,
	{"name", &policy_name, FI(meta) + offsetof(struct raw_meta, name), true,
		"The policy's name, at the head of what is compiled.", "cam-institution", NULL},
	{"timezone", &timezone_, FI(timezone), false,
		"The time zone in which dates begin and end; left out: UTC.", "Europe/London", NULL},
	ROWS_SHARED,
	{"points", &keys_points, FI(points), false, "Where rules run.", NULL, "CAM-22"},
	{"submission", &keys_submission, FI(submission), false,
		"What the forwarder on a host does.", NULL, "MIS-04"},
	{"tests", &tests, FI(tests), false, "Packets and messages whose fate the policy promises.",
		NULL, NULL},
	{NULL, &keys_named_meta, FI(meta), false, NULL, NULL, NULL},
	{0},
};

const struct shape_type policy_file_type = {
	.kind = SHAPE_REC, .id = "policy", .keys = file_keys,
	.wanted = "a policy", .title = "The policy", .example = "mailreeve: 1",
};

static const struct shape_key included_keys[] = {
	ROW_VERSION,
	{"name", &policy_name, FI(meta) + offsetof(struct raw_meta, name), false,
		"A name for the file; it is not used.", "cudn", NULL},
	ROWS_SHARED,
	{NULL, &keys_named_meta, FI(meta), false, NULL, NULL, NULL},
	{0},
};

const struct shape_type policy_included_type = {
	.kind = SHAPE_REC, .id = "included", .keys = included_keys,
	.wanted = "an included file", .title = "An included file", .example = "mailreeve: 1",
};

/* ---- printing ------------------------------------------------------------------- */

void
policy_schema_print(struct buf *out)
{
	shape_schema_print(out, &policy_file_type, "mailreeve:policy-1.schema.json",
	    "A mailreeve policy, version 1 of the language");
}

void
policy_included_schema_print(struct buf *out)
{
	shape_schema_print(out, &policy_included_type, "mailreeve:included-1.schema.json",
	    "A file that a mailreeve policy includes, version 1 of the language");
}

void
policy_manual_print(struct buf *out)
{
	shape_manual_print(out, &policy_file_type);
}
