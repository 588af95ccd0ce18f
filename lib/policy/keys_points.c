/* Key rows: points, zones, judges and their statements. */
#include "policy/raw.h"
#include "policy/policy.h"

#define ST(field) offsetof(struct raw_stmt, field)

static const struct shape_word with_words[] = {
	{"reject", POLICY_REJECT, "refused at once, and told so"},
	{"drop", POLICY_DROP, "no answer"},
	{0},
};

static const struct shape_type with = {
	.kind = SHAPE_WORD, .words = with_words,
};

#define ROW_PORTS(req) \
	{"ports", &keys_ports, ST(ports), req, "The TCP ports it speaks of.", "[smtp]", "CAM-01"}
#define ROW_WITH \
	{"with", &with, ST(with), false, \
		"How it refuses; left out: reject outbound, drop inbound.", "reject", NULL}
#define ROW_LOG \
	{"log", &keys_yes, ST(log), false, "Whether each refusal is logged.", "true", "CAM-23"}
#define ROW_USERS \
	{"users", &keys_users, ST(users), false, \
		"On a host, outbound: only for programs of these users.", "[www-data]", "COL-25"}, \
	{"units", &keys_units, ST(units), false, \
		"On a host, outbound: only for programs of these units.", "[apache2.service]", "COL-25"}
#define ROW_META \
	{NULL, &keys_stmt_meta, ST(meta), false, NULL, NULL, NULL}

/* ---- exempt -------------------------------------------------------------- */

/* The same keys as in stmt_meta, but owner and reason must be there. */
#define EM(field) (ST(meta) + offsetof(struct raw_meta, field))

static const struct shape_key exempt_keys[] = {
	{"from", &keys_where_any, ST(from), false,
		"Who is exempt. Required for a router and for inbound.", "131.111.70.5", "CAM-03"},
	{"to", &keys_where_any, ST(to), false,
		"Towards where. Required outbound; inbound, left out: everything inside.", "anywhere",
		"CAM-03"},
	ROW_PORTS(true),
	{"owner", &keys_text, EM(owner), true, "Who answers for the exemption.", "physics-it",
		"CAM-03"},
	{"reason", &keys_text, EM(reason), true, "Why there is one.",
		"runs its own MTA, arranged with the postmaster", "CAM-03"},
	ROW_USERS,
	ROW_META,
	{0},
};

static const struct shape_type exempt = {
	.kind = SHAPE_REC, .id = "exempt", .keys = exempt_keys,
	.wanted = "an exemption", .title = "An exemption: exempt",
	.example = "{from: 131.111.70.5, to: anywhere, ports: [smtp], owner: physics-it, "
	    "reason: own MTA}",
};

static const struct shape_type exempts = {
	.kind = SHAPE_LIST, .lone = true, .item = &exempt, .size = sizeof(struct raw_stmt),
	.wanted = "an exemption, or a list of exemptions",
};

/* ---- relays -------------------------------------------------------------- */

static const struct shape_key relay_entry_keys[] = {
	{"relay", &keys_name, ST(relay), true, "The relay's name.", "ppsw", "CAM-05"},
	{"ports", &keys_ports, ST(ports), false,
		"Only these ports, in place of the relay's own.", "[25, 587]", NULL},
	ROW_USERS,
	ROW_META,
	{0},
};

static const struct shape_type relay_entry = {
	.kind = SHAPE_REC, .id = "relay-entry", .keys = relay_entry_keys,
	.wanted = "an entry of `relays`", .title = "An entry of relays",
	.example = "{relay: ppsw}",
};

static const struct shape_type relay_name = {
	.kind = SHAPE_NAME, .wanted = "the name of a relay", .example = "ppsw",
};

static const struct shape_alt relay_alts[] = {
	{&relay_name, ST(relay)},
	{&relay_entry, 0},
	{0},
};

static const struct shape_type relay_item = {
	.kind = SHAPE_ONE, .alt = relay_alts,
	.wanted = "the name of a relay, or a mapping with `relay`", .example = "ppsw",
};

static const struct shape_type relay_list = {
	.kind = SHAPE_LIST, .lone = true, .item = &relay_item, .size = sizeof(struct raw_stmt),
	.wanted = "the names of relays", .example = "[ppsw]",
};

/* ---- block, roaming, otherwise -------------------------------------------- */

static const struct shape_key block_keys[] = {
	ROW_PORTS(true),
	{"from", &keys_where_any, ST(from), false, "Only from there; left out: from anywhere.",
		"campus", "CAM-01"},
	{"to", &keys_where_any, ST(to), false, "Only towards there; left out: to anywhere.",
		"anywhere", "CAM-01"},
	ROW_WITH,
	ROW_LOG,
	ROW_META,
	{0},
};

static const struct shape_type block = {
	.kind = SHAPE_REC, .id = "block", .keys = block_keys,
	.wanted = "a block", .title = "A refusal: block",
	.example = "{ports: [smtp], with: reject, log: true}",
};

static const struct shape_type blocks = {
	.kind = SHAPE_LIST, .lone = true, .item = &block, .size = sizeof(struct raw_stmt),
	.wanted = "a block, or a list of blocks",
};

static const struct shape_key roaming_keys[] = {
	ROW_PORTS(true),
	{"from", &keys_where_any, ST(from), false, "Only from there; left out: from anywhere.",
		"wireless", "CAM-07"},
	{"to", &keys_where_any, ST(to), false, "Only towards there; left out: to anywhere.",
		"anywhere", "CAM-07"},
	ROW_META,
	{0},
};

static const struct shape_type roaming = {
	.kind = SHAPE_REC, .id = "roaming", .keys = roaming_keys,
	.wanted = "a mapping about roaming clients", .title = "Mail programs of people: roaming",
	.example = "{ports: [110, 143, 465, 587, 993, 995], to: anywhere}",
};

static const struct shape_type roamings = {
	.kind = SHAPE_LIST, .lone = true, .item = &roaming, .size = sizeof(struct raw_stmt),
	.wanted = "a mapping about roaming clients, or a list of such",
};

static const struct shape_word otherwise_words[] = {
	{"untouched", 0, "what nothing above speaks of is left to other rules"},
	{"deny", 1, "the mail ports are refused: 25, 110, 143, 465, 587, 993, 995, TCP"},
	{0},
};

static const struct shape_type otherwise_word = {
	.kind = SHAPE_WORD, .words = otherwise_words,
};

static const struct shape_key otherwise_keys[] = {
	{"deny", &keys_yes, ST(deny), true,
		"Whether the mail ports that nothing else allowed are refused.", "true", "CAM-22"},
	ROW_WITH,
	ROW_LOG,
	ROW_META,
	{0},
};

static const struct shape_type otherwise_rec = {
	.kind = SHAPE_REC, .id = "otherwise", .keys = otherwise_keys,
	.wanted = "a mapping with `deny`", .title = "Everything else: otherwise",
	.example = "{deny: true, with: drop, log: true}",
};

static const struct shape_alt otherwise_alts[] = {
	{&otherwise_word, ST(word)},
	{&otherwise_rec, 0},
	{0},
};

static const struct shape_type otherwise = {
	.kind = SHAPE_ONE, .alt = otherwise_alts,
	.wanted = "`untouched`, `deny`, or a mapping with `deny`",
};

/* ---- limit --------------------------------------------------------------- */

#define LI(field) offsetof(struct raw_limit, field)

static const struct shape_type count = {
	.kind = SHAPE_INT, .lo = 1, .hi = 1000000, .example = "60",
};

static const struct shape_type window = {
	.kind = SHAPE_TIME, .example = "hour",
};

static const struct shape_word each_words[] = {
	{"source", POLICY_EACH_SOURCE, "each IPv4 address, each IPv6 /64"},
	{"all", POLICY_EACH_ALL, "all sources together"},
	{0},
};

static const struct shape_type each = {
	.kind = SHAPE_WORD, .words = each_words,
};

static const struct shape_word over_words[] = {
	{"log", POLICY_OVER_LOG, "it is logged, nothing is refused"},
	{"reject", POLICY_OVER_REJECT, "refused at once"},
	{"drop", POLICY_OVER_DROP, "no answer"},
	{0},
};

static const struct shape_type over = {
	.kind = SHAPE_WORD, .words = over_words,
};

static const struct shape_type limit_place = {
	.kind = SHAPE_OWN,
	.wanted = "`relays`, `anywhere`, the name of a network, a prefix or an address",
	.example = "relays",
	.pattern = "^([a-z][a-z0-9_-]{0,47}|[0-9A-Fa-f:.]+(/[0-9]{1,3})?)$",
};

static const struct shape_type limit_to = {
	.kind = SHAPE_LIST, .lone = true,
	.item = &limit_place, .size = sizeof(struct shape_text),
	.wanted = "`relays`, `anywhere`, or places", .example = "relays",
};

static const struct shape_key limit_keys[] = {
	{"connections", &count, LI(connections), true, "How many new connections at most.", "60",
		"CAM-13"},
	{"per", &window, LI(per), true, "In how long.", "hour", "CAM-13"},
	{"each", &each, LI(each), true, "What has a count of its own.", "source", "CAM-14"},
	{"to", &limit_to, LI(to), true, "Towards where it counts.", "relays", "CAM-13"},
	{"over", &over, LI(over), true, "What happens past it.", "log", "CAM-13"},
	{NULL, &keys_stmt_meta, LI(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type limit = {
	.kind = SHAPE_REC, .id = "limit", .keys = limit_keys,
	.wanted = "a limit of connections", .title = "A limit of connections: limit",
	.example = "{connections: 60, per: hour, each: source, to: relays, over: log}",
};

static const struct shape_type limits = {
	.kind = SHAPE_LIST, .lone = true, .item = &limit, .size = sizeof(struct raw_limit),
	.wanted = "a limit of connections, or a list of such",
};

/* ---- a judge --------------------------------------------------------------- */

#define JU(field) offsetof(struct raw_judge, field)

static const struct shape_word only_words[] = {
	{"forwarder", 1, "the relays are for the forwarder's own user"},
	{0},
};

static const struct shape_type only = {
	.kind = SHAPE_WORD, .words = only_words,
};

static const struct shape_key judge_keys[] = {
	{"exempt", &exempts, JU(exempt), false,
		"Who may do what the others may not. Stands above all else.", NULL, "CAM-03"},
	{"relays", &relay_list, JU(relays), false,
		"The relays that may be reached (inbound: that may connect). An exception to `block`.",
		"[ppsw, ser]", "CAM-05"},
	{"block", &blocks, JU(block), false, "What is refused.", NULL, "CAM-01"},
	{"roaming", &roamings, JU(roaming), false,
		"What mail programs of people may reach.", NULL, "CAM-07"},
	{"otherwise", &otherwise, JU(otherwise), true,
		"What happens to the mail ports that nothing above speaks of.", "deny", "COL-03"},
	{"limit", &limits, JU(limit), false,
		"How many of the allowed connections.", NULL, "CAM-13"},
	{"only", &only, JU(only), false,
		"On a host, outbound: for whom the relays are.", "forwarder", "CAM-04"},
	{"capture", &keys_yes, JU(capture), false,
		"On a host, outbound: what a local program sends to a refused port 25 goes to the "
		"forwarder.", "true", "COL-05"},
	{0},
};

static const struct shape_type judge = {
	.kind = SHAPE_REC, .id = "judge", .keys = judge_keys,
	.wanted = "the rules of a direction", .title = "The rules of one direction",
	.example = "{block: {ports: [smtp]}, otherwise: untouched}",
};

/* ---- zones and points ------------------------------------------------------ */

#define ZO(field) offsetof(struct raw_zone, field)
#define PO(field) offsetof(struct raw_point, field)

static const struct shape_key zone_keys[] = {
	{"inside", &keys_where, ZO(inside), true,
		"The addresses whose mail this zone rules.", "institution", "CAM-01"},
	{"internal", &keys_where, ZO(internal), false,
		"What else counts as inside the institution: between it and `inside` nothing is touched.",
		"128.232.0.0/16", "CAM-02"},
	{"families", &keys_families, ZO(families), false,
		"Says that `inside` is of one family on purpose.", "ipv4", "X-06"},
	{"outbound", &judge, ZO(judge[POLICY_OUTBOUND]), false,
		"New connections from inside to outside.", NULL, "CAM-01"},
	{"inbound", &judge, ZO(judge[POLICY_INBOUND]), false,
		"New connections from outside to inside.", NULL, "CAM-26"},
	{NULL, &keys_named_meta, ZO(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type zone = {
	.kind = SHAPE_REC, .id = "zone", .keys = zone_keys,
	.wanted = "a zone", .title = "A zone",
};

static const struct shape_type zones = {
	.kind = SHAPE_MAP, .item = &zone, .size = sizeof(struct raw_zone),
	.wanted = "a mapping from names to zones",
	.example = "{campus: {inside: campus, outbound: {otherwise: untouched}}}",
};

static const struct shape_word kind_words[] = {
	{"router", POLICY_ROUTER, "it forwards the mail of others"},
	{"host", POLICY_HOST, "a Linux host, what its own programs send and are sent"},
	{0},
};

static const struct shape_type kind = {
	.kind = SHAPE_WORD, .words = kind_words,
};

static const struct shape_word state_words[] = {
	{"conntrack", POLICY_CONNTRACK, "judge connections that are new to connection tracking"},
	{"syn", POLICY_SYN, "judge the first packet alone, without connection tracking"},
	{0},
};

static const struct shape_type state = {
	.kind = SHAPE_WORD, .words = state_words,
};

static const struct shape_word as_words[] = {
	{"base", POLICY_AS_BASE, "base chains of its own: they can only narrow"},
	{"chains", POLICY_AS_CHAINS, "regular chains that your own ruleset jumps to"},
	{0},
};

static const struct shape_type as = {
	.kind = SHAPE_WORD, .words = as_words,
};

static const struct shape_word mode_words[] = {
	{"enforce", 0, "what is refused is refused"},
	{"observe", 1, "what would be refused is counted and logged, and passes"},
	{0},
};

static const struct shape_type mode = {
	.kind = SHAPE_WORD, .words = mode_words,
};

static const struct shape_word containers_words[] = {
	{"covered", 1, "what it forwards for containers is judged too"},
	{"untouched", 0, "what it forwards is left alone"},
	{0},
};

static const struct shape_type containers = {
	.kind = SHAPE_WORD, .words = containers_words,
};

static const struct shape_type host_inside = {
	.kind = SHAPE_NOT,
	.wanted = "`inside` belongs to a zone of a router: write `zones: {NAME: {inside: ...}}`; a "
	    "host has no inside",
};

static const struct shape_key point_keys[] = {
	{"kind", &kind, PO(kind), true, "What the point is.", "router", "CAM-22"},
	{"zones", &zones, PO(zones), false,
		"Of a router: the networks whose mail it rules.", NULL, "COL-03"},
	{"outbound", &judge, PO(judge[POLICY_OUTBOUND]), false,
		"Of a host: new connections that its programs make.", NULL, "COL-05"},
	{"inbound", &judge, PO(judge[POLICY_INBOUND]), false,
		"Of a host: new connections to its programs.", NULL, "CAM-26"},
	{"state", &state, PO(state), false,
		"How a new connection is told; left out: conntrack.", "conntrack", NULL},
	{"as", &as, PO(as), false, "What it is compiled to; left out: base.", "base", NULL},
	{"mode", &mode, PO(mode), false, "Whether it refuses; left out: enforce.", "observe", NULL},
	{"containers", &containers, PO(containers), false,
		"Of a host: whether containers behind its bridge are covered; left out: they are.",
		"untouched", NULL},
	{"inside", &host_inside, 0, false, "", NULL, NULL},
	{NULL, &keys_named_meta, PO(meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type point = {
	.kind = SHAPE_REC, .id = "point", .keys = point_keys,
	.wanted = "a point", .title = "A point, where rules run",
};

const struct shape_type keys_points = {
	.kind = SHAPE_MAP, .item = &point, .size = sizeof(struct raw_point),
	.wanted = "a mapping from names to points",
	.example = "{firewall: {kind: router, zones: ...}}",
};
